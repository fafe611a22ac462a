// Layers of mobile networks, for training on x86 processors, channels last.
//
// They read and write each map as few times as they can: PyTorch's own BatchNorm, activations and gates go over the
// map again for every step, and memory, not arithmetic, is what a training step waits for.

#include <torch/library.h>

#include "context.h"
#include "depthwise.h"
#include "gates.h"
#include "norm.h"
#include "upsampling.h"

TORCH_LIBRARY(mobilepose, library) {
  library.def("norm_forward", &mobilepose::norm_forward);
  library.def("norm_backward", &mobilepose::norm_backward);
  library.def("pool_forward", &mobilepose::pool_forward);
  library.def("gate_forward", &mobilepose::gate_forward);
  library.def("gate_backward", &mobilepose::gate_backward);
  library.def("context_forward", &mobilepose::context_forward);
  library.def("context_backward", &mobilepose::context_backward);
  library.def("join_forward", &mobilepose::join_forward);
  library.def("join_backward", &mobilepose::join_backward);
  library.def("depthwise_forward", &mobilepose::depthwise_forward);
  library.def("depthwise_backward", &mobilepose::depthwise_backward);
  library.def("upsample_forward", &mobilepose::upsample_forward);
  library.def("upsample_backward", &mobilepose::upsample_backward);
}
