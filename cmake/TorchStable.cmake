# SPDX-License-Identifier: Apache-2.0
# Torch's stable ABI without find_package(Torch), which wants a CUDA toolkit for a CUDA torch and links too much.
set(TORCH_INCLUDE_DIR "" CACHE PATH "torch/include; empty: that of the installed torch")
set(TORCH_LIB_DIR "" CACHE PATH "torch/lib; empty: that of the installed torch")
if(NOT TORCH_INCLUDE_DIR OR NOT TORCH_LIB_DIR)
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c
            "import importlib.util as u, pathlib as p; s = u.find_spec('torch'); print(p.Path(s.origin).parent if s else '')"
    OUTPUT_VARIABLE TORCH_ROOT OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  if(NOT TORCH_ROOT)
    message(FATAL_ERROR "torch >= 2.10 is not installed for ${Python_EXECUTABLE}: install it and build with "
                        "--no-build-isolation, or set TORCH_INCLUDE_DIR and TORCH_LIB_DIR.")
  endif()
  set(TORCH_INCLUDE_DIR ${TORCH_ROOT}/include)
  set(TORCH_LIB_DIR ${TORCH_ROOT}/lib)
endif()

add_library(torch_stable INTERFACE)
target_include_directories(torch_stable SYSTEM INTERFACE ${TORCH_INCLUDE_DIR})
# One binary for torch 2.10 and everything newer.
target_compile_definitions(torch_stable INTERFACE TORCH_TARGET_VERSION=0x020a000000000000)
# libtorch.so pulls libtorch_cuda.so on a CUDA torch and nothing on a CPU torch, so no stub is needed.
target_link_options(torch_stable INTERFACE LINKER:--no-as-needed)
target_link_libraries(torch_stable INTERFACE ${TORCH_LIB_DIR}/libtorch.so ${TORCH_LIB_DIR}/libtorch_cpu.so)

# What both modules share.
function(warphash_module target)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/csrc)
  target_link_libraries(${target} PRIVATE torch_stable)
  target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -ffile-prefix-map=${PROJECT_SOURCE_DIR}=. -ffile-prefix-map=${TORCH_INCLUDE_DIR}=torch -ffp-contract=off>)
  if(WARPHASH_WERROR)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
  endif()
  set_target_properties(${target} PROPERTIES BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "")
  install(TARGETS ${target} LIBRARY DESTINATION warphash COMPONENT python)
endfunction()
