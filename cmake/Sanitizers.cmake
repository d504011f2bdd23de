# SPDX-License-Identifier: Apache-2.0
function(warphash_sanitize target)
  if(NOT WARPHASH_SANITIZE)
    return()
  endif()
  target_compile_options(${target} PRIVATE -fsanitize=${WARPHASH_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined -g -O1)
  target_link_options(${target} PRIVATE -fsanitize=${WARPHASH_SANITIZE})
endfunction()
