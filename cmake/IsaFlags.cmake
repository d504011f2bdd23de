# SPDX-License-Identifier: Apache-2.0
# Instruction sets by file suffix; which file's kernels run is chosen at run time (csrc/common/isa.h).
# gcc 12 takes the undefined vectors inside its own intrinsics for ours.
set(WARPHASH_AVX2_FLAGS -mavx2 -mfma -mf16c -mpopcnt -Wno-uninitialized -Wno-maybe-uninitialized)
set(WARPHASH_AVX512_FLAGS ${WARPHASH_AVX2_FLAGS} -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vpopcntdq -mavx512vbmi2)
set(WARPHASH_AVX512BF16_FLAGS ${WARPHASH_AVX512_FLAGS} -mavx512bf16)
set(WARPHASH_AMX_FLAGS ${WARPHASH_AVX512_FLAGS} -mamx-tile -mamx-int8 -mamx-bf16)

function(warphash_isa_flags)
  foreach(source IN LISTS ARGN)
    foreach(isa AVX2 AVX512 AVX512BF16 AMX)
      string(TOLOWER ${isa} suffix)
      if(source MATCHES "_${suffix}\\.cpp$")
        set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${WARPHASH_${isa}_FLAGS}")
      endif()
    endforeach()
  endforeach()
endfunction()
