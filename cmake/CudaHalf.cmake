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

if(NOT WARPHASH_CUDA_ARCHITECTURES)
  # PTX of compute_90 runs on later cards; that of compute_120 would not run on sm_100.
  set(WARPHASH_CUDA_ARCHITECTURES "80-real;90")
endif()
set(CMAKE_CUDA_ARCHITECTURES ${WARPHASH_CUDA_ARCHITECTURES})
set(CMAKE_CUDA_COMPILER ${NVCC})
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)

# Registers and spills of every kernel go into the build log, where scripts/kernel_resources.py reads them.
set(WARPHASH_CUDA_FLAGS -std=c++20 -Xptxas=-v --expt-relaxed-constexpr
                        -Xcompiler=-fvisibility=hidden,-ffp-contract=off,-ffile-prefix-map=${PROJECT_SOURCE_DIR}=.)
if(WARPHASH_LINEINFO)
  list(APPEND WARPHASH_CUDA_FLAGS -lineinfo)
endif()
function(warphash_cuda_kernels target)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/csrc)
  # CMake 3.25 does not know that nvcc 13 speaks C++20; the flag does.
  set_target_properties(${target} PROPERTIES CUDA_STANDARD 17 POSITION_INDEPENDENT_CODE ON)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:${WARPHASH_CUDA_FLAGS}>)
endfunction()

add_library(warphash_kernels OBJECT ${CUDA_SOURCES})
warphash_cuda_kernels(warphash_kernels)

pybind11_add_module(_C_cuda NO_EXTRAS csrc/python/module_cuda.cpp csrc/python/module_cuda_probes.cpp ${CUDA_ENTRIES}
                    $<TARGET_OBJECTS:warphash_kernels>)
if(CUDA_SM90A_SOURCES)
  # wgmma needs the architecture's own target, which serves no other.
  add_library(warphash_kernels_sm90a OBJECT ${CUDA_SM90A_SOURCES})
  warphash_cuda_kernels(warphash_kernels_sm90a)
  set_target_properties(warphash_kernels_sm90a PROPERTIES CUDA_ARCHITECTURES 90a-real)
  target_sources(_C_cuda PRIVATE $<TARGET_OBJECTS:warphash_kernels_sm90a>)
endif()
set_target_properties(_C_cuda PROPERTIES CUDA_STANDARD 17)
warphash_module(_C_cuda)
string(REPLACE ";" " " WARPHASH_ARCHITECTURE_NAMES "${WARPHASH_CUDA_ARCHITECTURES}")
target_compile_definitions(_C_cuda PRIVATE USE_CUDA WARPHASH_CUDA_ARCHITECTURES="${WARPHASH_ARCHITECTURE_NAMES}"
                                           WARPHASH_NVCC="${CMAKE_CUDA_COMPILER_VERSION}")
target_link_libraries(_C_cuda PRIVATE CUDA::cudart_static)
