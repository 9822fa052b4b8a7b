// A model with trained weights, and what it takes to show it pictures: from a run of this program, or from a file that
// somebody else wrote.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "atlas/data/evaluation.h"
#include "atlas/models/heads/classify.h"
#include "atlas/models/model.h"
#include "atlas/train/config.h"

namespace atlas::inline ATLAS_ABI::train {

/// A trained model and what belongs to it.
struct TrainedModel {
  TrainConfig config;                         ///< of the run; for published weights just the model's name and options
  std::vector<std::string> classes;           ///< one name for each logit
  std::unique_ptr<models::Classifier> model;  ///< in inference mode, with the averaged weights when the run kept them
  Device device;                              ///< where the model is, and images have to be
  data::Transform transform;                  ///< from a uint8 image [H,W,3] to what the model was tested on
  std::string notes;                          ///< what loading left out, one line; mostly empty

  /// Class probabilities of one picture, on the CPU.   uint8 [H,W,3] -> float32 [classes]
  Tensor classify(const Tensor& image) const;
};

/// A trained model, whatever it is for.
struct SavedModel {
  TrainConfig config;                    ///< of the run
  std::vector<std::string> classes;      ///< by number
  std::unique_ptr<models::Model> model;  ///< in inference mode, with the averaged weights when the run kept them
};

/// Loads the model out of a checkpoint that run_training() wrote (best.ckpt or last.ckpt).
/// @throws Error naming the file when it is missing, damaged or no training checkpoint.
SavedModel load_saved_model(const std::string& path);

/// load_saved_model() of a classifier. @throws Error for another model, too.
TrainedModel load_trained_model(const std::string& path);

/// Where a model comes from, as programs take it on the command line: either `checkpoint`, or `model` and `weights`.
struct ModelSource {
  std::string checkpoint;
  std::string model;
  std::string weights;
  std::string model_options;
  std::string classes;
  std::string image_size;
  std::string precision;
  double crop = 0;
  bool ema = false;
  std::string device = "auto";
  std::map<std::string, std::string>
      fields;  ///< of the configuration, as text (models::with_fields()); beat model_options
};

/// The files that a model is read from, for data::check_inputs_stay(); "" among them for those that are not given.
inline std::vector<std::string> files_of(const ModelSource& source) {
  return {source.checkpoint, source.weights, source.model_options, source.classes};
}

/// Calls visit(option, field, help) for every field.
template <class Source, class Visitor>
void for_each_option(Source& s, Visitor&& visit) {
  visit("--checkpoint", s.checkpoint, "best.ckpt or last.ckpt of a training run");
  visit("--model", s.model,
        "preset whose weights are in --weights; its configuration has options of its own, which --help shows with it");
  visit("--weights", s.weights, "weights for --model: PyTorch file (.pth, .pth.tar, .pt, .ckpt) or safetensors");
  visit("--model-options", s.model_options,
        "JSON object that overrides fields of the preset, e.g. '{\"dim\": 96}', or a file that holds one");
  visit("--classes", s.classes, "text file with the names of the classes, one per line");
  visit("--precision", s.precision,
        "float32 (default), or bf16: products in bfloat16, faster on CPUs with AVX512_BF16, answers move by some 1e-2");
  visit("--image-size", s.image_size,
        "pixels to resize to: 384, 640x480 (width x height), or native for pictures as they are; default: the model's "
        "own");
  visit("--crop", s.crop, "share of the resized picture's side that the center crop keeps; 0: as published");
  visit("--device", s.device, "where to compute: cpu, cuda, cuda:N, or auto, the first GPU that is there");
  visit("--ema", s.ema, "take the averaged weights of the file in --weights, where it has them");
}

/// Sets the sides from "384", "640x480" (width x height) or "native" (0 x 0). @throws Error for other texts.
void read_image_size(const std::string& text, data::EvaluationSettings& settings);

/// Opens the model that `source` names, ready to show it pictures. Published weights get the published preprocessing
/// (evaluation_transform with published_evaluation), as many classes as their head has, and the names "class 0",
/// "class 1", ... unless there is a file of names.
/// @throws Error for contradictory options, files that do not fit the model, or a wrong number of names.
TrainedModel open_model(const ModelSource& source);

/// The names in a text file, one per line. @throws Error when there are not `count`, which 0 leaves open.
std::vector<std::string> read_class_names(const std::string& path, int64_t count);

/// One class of a picture.
struct Guess {
  int64_t index = 0;
  double probability = 0;
};

/// The likeliest classes, most likely first.   probabilities float32 [classes]
std::vector<Guess> best_guesses(const Tensor& probabilities, int64_t count);

/// A line of JSON: {"file": ..., "top": [{"class": 207, "name": ..., "probability": ...}, ...]}. Bytes that are no
/// UTF-8 are replaced.
std::string to_json(const std::string& file, const std::vector<Guess>& guesses,
                    const std::vector<std::string>& classes);

}  // namespace atlas::inline ATLAS_ABI::train

#ifndef ATLAS_COMPILED_LIB
#include "atlas/train/trained_model-inl.h"
#endif
