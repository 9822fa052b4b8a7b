// Pictures of attention: which parts of an image a patch reads, drawn over the image.
// Not in atlas.h: include it by name.
#pragma once

#include <string>
#include <vector>

#include "atlas/models/heads/classify.h"
#include "atlas/nn/attention_probe.h"

namespace atlas::inline ATLAS_ABI::train {

/// What attention_picture() shows.
struct AttentionPictureOptions {
  int64_t x = -1, y = -1;  ///< pixel of the image whose patch asks; negative: the middle
  int64_t head = -1;       ///< one attention head; negative: the mean of all
  int64_t block = -1;      ///< the layers of that AttentionLayer::number; negative: those shown by default
  int64_t panel = 420;     ///< longer side of the image in each panel, in pixels
  std::string name = {};   ///< shown in the title
};

/// Runs a model over one image and draws what the patch at (x, y) reads.
///
/// There is a row for each layer that the backbone shows (Backbone::attention_layers()). Of one that reads across
/// scales, as Atlas does, the first panel frames the windows of all scales that the patch of the finest one reads (down
/// pass); the others show, scale by scale, how the attention is spread over the window. Of others, as in MambaVision,
/// there is what the patch reads in its window, and what all patches of the image read on average.
/// Colors run from nothing to the most that any token of the panel gets; a bar under each panel says how much that is.
///
/// @param model   in inference mode
/// @param input   what the model sees, float32 [H,W,3]
/// @param image   the same as people see it, uint8 [H,W,3]
/// @return uint8 [height,width,3]
/// @throws Error when the patch, head or block does not exist, or the two images differ in size.
Tensor attention_picture(models::Classifier& model, const Tensor& input, const Tensor& image,
                         const AttentionPictureOptions& options = {});

}  // namespace atlas::inline ATLAS_ABI::train

#ifndef ATLAS_COMPILED_LIB
#include "atlas/train/attention_picture-inl.h"
#endif
