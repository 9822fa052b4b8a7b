// What the benchmark measures: one line per case, with the ratio to PyTorch that is the goal.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bench {

/// A piece of work that both sides know, by the words that describe it to both: "model atlas-b 1024 1 forward",
/// "conv 192 256 forward" (channels, side), "linear 4096 768 3072 forward" (rows, in, out), and those of dense_work.h.
struct Case {
  std::string name;
  std::string title;
  std::vector<std::string> works;  ///< one, or the shapes of a table
  double goal = 0, stretch = 0;    ///< ratio to PyTorch's time, or share of the measured peak for products; 0: none
  int threads = 0;                 ///< 0: as the command line says
  bool by_default = true;          ///< run without being named
};

namespace detail {

/// The products of these models, as rows x in -> out: Atlas-B at 1024 pixels, the 384-wide Atlas at 224 with batch 8,
/// MambaVision-T at 224 with batch 32, -B and -L2 with batch 8. Each also as the two products of its gradients.
inline std::vector<std::string> products() {
  std::vector<std::string> works;
  for (const char* shape : {"4096 768 768", "4096 768 1536", "4096 768 3072", "4096 3072 768", "1568 384 384",
                            "1568 384 1536", "1568 1536 384", "6272 320 320", "6272 320 960", "6272 320 1280",
                            "6272 1280 320", "1568 640 1920", "1568 640 2560", "1568 2560 640", "1568 512 2048",
                            "392 1024 4096", "1568 784 3136", "392 1568 6272", "392 6272 1568"})
    for (const char* kind : {"forward", "dx", "dw"}) works.push_back(std::string("linear ") + shape + " " + kind);
  return works;
}

}  // namespace detail

namespace detail {
/// A case without a goal, which the list of all leaves out.
inline Case small(const char* name, const char* title, const char* work) {
  return {name, title, {work}, 0, 0, 0, false};
}
}  // namespace detail

inline const std::vector<Case>& cases() {
  using detail::small;
  static const std::vector<Case> all{
      {"atlas-b-1024-forward", "Atlas-B 1024 px forward, batch 1", {"model atlas-b 1024 1 forward"}, 2.0, 3},
      {"atlas-b-1024-train", "Atlas-B 1024 px training step, batch 1", {"model atlas-b 1024 1 train"}, 1.8, 2.5},
      {"atlas-s-224-forward", "Atlas 384-wide 224 px forward, batch 8", {"model atlas-s 224 8 forward"}, 2.0, 3},
      {"atlas-s-224-train", "Atlas 384-wide 224 px training step, batch 8", {"model atlas-s 224 8 train"}, 1.8, 3},
      {"mambavision-t-224-forward-b32",
       "MambaVision-T 224 px forward, batch 32",
       {"model mambavision-t 224 32 forward"},
       2.0,
       3},
      {"mambavision-t-224-forward-b1",
       "MambaVision-T 224 px forward, batch 1",
       {"model mambavision-t 224 1 forward"},
       2.0,
       3},
      {"mambavision-t-224-train",
       "MambaVision-T 224 px training step, batch 8",
       {"model mambavision-t 224 8 train"},
       2.5,
       4},
      {"mambavision-b-224-forward",
       "MambaVision-B 224 px forward, batch 8",
       {"model mambavision-b 224 8 forward"},
       1.8,
       2.5},
      {"mambavision-l2-224-forward",
       "MambaVision-L2 224 px forward, batch 8",
       {"model mambavision-l2 224 8 forward"},
       1.8,
       2.5},
      {"mambavision-t-1024-forward",
       "MambaVision-T 1024 px forward, batch 1",
       {"model mambavision-t 1024 1 forward"},
       2.0,
       3},
      {"conv3x3-192-256", "3x3 convolution, 192 channels, 256 x 256", {"conv 192 256 forward"}, 3, 4},
      {"conv3x3-384-128", "3x3 convolution, 384 channels, 128 x 128", {"conv 384 128 forward"}, 3, 4},
      {"conv3x3-192-256-train", "the same with both gradients, 192 channels", {"conv 192 256 train"}},
      {"conv3x3-384-128-train", "the same with both gradients, 384 channels", {"conv 384 128 train"}},
      {"gemm-1-thread", "matrix products of these models, 1 thread", detail::products(), 0.85, 0.92, 1},
      {"gemm-2-threads", "matrix products of these models, 2 threads", detail::products(), 0.85, 0.92, 2},
      {"upernet-t-512x2048-forward",
       "UPerNet over MambaVision-T, 512 x 2048 px, classes of all pixels",
       {"segment upernet-mambavision-t 512 2048 forward"},
       1.8,
       2.5},
      {"upernet-t-512-train",
       "UPerNet over MambaVision-T, 512 px training step, batch 2",
       {"segment upernet-mambavision-t 512 512 train"},
       2.0,
       3},
      {"cascade-t-800x1216-forward",
       "Cascade Mask R-CNN over MambaVision-T, 800 x 1216 px",
       {"detect cascade-mask-rcnn-mambavision-t 800 1216 forward"},
       1.8,
       2.5},
      {"cascade-t-800x1216-train",
       "the same, training step, batch 1",
       {"detect cascade-mask-rcnn-mambavision-t 800 1216 train"},
       2.0,
       3},
      {"roi-align-forward",
       "RoIAlign, 1000 regions, 256 channels of 200 x 200",
       {"roi_align 256 200 1000 forward"},
       1,
       2},
      {"roi-align-train", "the same with the map's gradient", {"roi_align 256 200 1000 train"}, 1, 2},
      {"nms-2000", "NMS of 2000 boxes", {"nms 2000"}, 1, 2},
      {"coco-val-load", "5,000 images and 36,781 objects of COCO's format read", {"coco 5000 36781"}},
      // Small ones, for a look and for the test of the benchmark itself.
      small("atlas-toy-forward", "atlas-toy 32 px forward, batch 64", "model atlas-toy 32 64 forward"),
      small("atlas-toy-train", "atlas-toy 32 px training step, batch 64", "model atlas-toy 32 64 train"),
      small("mambavision-toy-train", "mambavision-toy 32 px training step, batch 64",
            "model mambavision-toy 32 64 train"),
      small("conv3x3-32-32", "3x3 convolution, 32 channels, 32 x 32", "conv 32 32 forward"),
      small("upernet-t-small-forward", "UPerNet over MambaVision-T, 64 x 96 px",
            "segment upernet-mambavision-t 64 96 forward"),
      small("upernet-t-small-train", "its training step", "segment upernet-mambavision-t 64 96 train"),
      small("cascade-t-small-forward", "Cascade Mask R-CNN over MambaVision-T, 160 x 192 px",
            "detect cascade-mask-rcnn-mambavision-t 160 192 forward"),
      small("cascade-t-small-train", "its training step", "detect cascade-mask-rcnn-mambavision-t 160 192 train"),
      small("upernet-toy-forward", "the toy of segmentation (ours alone)",
            "segment upernet-mambavision-toy 64 96 forward"),
      small("upernet-toy-train", "its training step", "segment upernet-mambavision-toy 64 64 train"),
      small("cascade-toy-forward", "the toy of detection", "detect cascade-mask-rcnn-mambavision-toy 96 128 forward"),
      small("cascade-toy-train", "its training step", "detect cascade-mask-rcnn-mambavision-toy 96 128 train"),
      small("roi-align-small", "RoIAlign, 20 regions", "roi_align 8 24 20 forward"),
      small("roi-align-small-train", "and its gradient", "roi_align 8 24 20 train"),
      small("nms-200", "NMS of 200 boxes", "nms 200"),
      small("coco-small", "20 images and 100 objects read", "coco 20 100"),
      {"gemm-small", "one small matrix product", {"linear 256 128 128 forward"}, 0, 0, 1, false},
  };
  return all;
}

/// @return null when there is none of that name
inline const Case* find_case(const std::string& name) {
  for (const Case& c : cases())
    if (c.name == name) return &c;
  return nullptr;
}

}  // namespace bench
