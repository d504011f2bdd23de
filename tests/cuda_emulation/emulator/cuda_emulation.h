// SPDX-License-Identifier: Apache-2.0
// Runs torch-free CUDA kernel files on the CPU, so that their logic can be tested without a GPU. The build puts this
// header in front of each file (-include), which then finds the language, the intrinsics and the runtime calls it
// needs; csrc/common/portable.h does the rest. README.md says what this covers, what it cannot show, and the rules for
// kernels.
#pragma once

// clang-format off: each part stands on those before it
#include "language.h"
#include "engine.h"
#include "meeting.h"
#include "launch.h"
#include "warp.h"
#include "memory.h"
#include "arithmetic.h"
#include "ptx.h"
#include "runtime.h"
#include "launchers.h"
// clang-format on
#if defined(CUDA_EMULATION_RACES)
#include "races.h"
#endif
