# SPDX-License-Identifier: Apache-2.0
# Module _C_cuda: the .cu files know no torch header; the operators' entries are plain C++. It needs nvcc, not a GPU, and
# compiles against a CPU-only torch. The runtime is linked statically, so there is no libcudart to match.
if(WARPHASH_CUDA STREQUAL "OFF")
  message(STATUS "warphash: CUDA half left out (WARPHASH_CUDA=OFF)")
  return()
endif()
find_program(NVCC nvcc HINTS $ENV{CUDA_HOME}/bin $ENV{CUDA_PATH}/bin /usr/local/cuda/bin)
if(NOT NVCC)
  if(WARPHASH_CUDA STREQUAL "ON")
    message(FATAL_ERROR "WARPHASH_CUDA=ON, but there is no nvcc on the PATH")
  endif()
  message(STATUS "warphash: CUDA half left out (no nvcc found)")
  return()
endif()
message(STATUS "warphash: CUDA half with ${NVCC}")
