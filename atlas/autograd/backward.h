// The backward engine: nodes in reverse order of creation, gradients summed where paths meet, no recursion.
#pragma once

#include <vector>

#include "atlas/autograd/node.h"

namespace atlas::inline ATLAS_ABI {

/// Adds d(loss)/d(leaf) to the grad() of every leaf that requires a gradient.
/// @param loss  a scalar (one element), or any tensor when `seed` is given
/// @param seed  d(result)/d(loss), shape of loss; default 1
/// @param keep_graph  keep saved tensors so that backward can run again through the same graph
/// @throws Error when loss does not depend on a leaf, or its graph was freed by an earlier backward.
void backward(const Tensor& loss, Tensor seed = {}, bool keep_graph = false);

/// d(sum of outputs)/d(inputs), without touching any grad(). An input that the outputs do not depend on gives an
/// undefined tensor.
/// @param seeds  d(result)/d(output) for each output; empty means ones
/// @throws Error when an output or input does not require a gradient.
std::vector<Tensor> grad(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs,
                         std::vector<Tensor> seeds = {}, bool keep_graph = false);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/autograd/backward-inl.h"
#endif
