// Says what is on pictures, with a model that train made:
//
//   classify --checkpoint runs/first/best.ckpt shirt.png boot.jpg
//
// For each picture: the five likeliest classes with their probabilities, and the time it took.
//
// ctest-needs: train
// ctest: --checkpoint run/best.ckpt run/predictions.png
#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>

#include "atlas/data/image.h"
#include "atlas/ops/order.h"
#include "atlas/train/trained_model.h"

int main(int argc, char** argv) {
  std::string checkpoint;
  std::vector<std::string> files;
  int64_t top = 5;
  int threads = 0;
  CLI::App app("Says what is on pictures, with a model that train made.", "classify");
  app.option_defaults()->always_capture_default();
  app.add_option("--checkpoint", checkpoint, "best.ckpt or last.ckpt of a training run")->required();
  app.add_option("--top", top, "classes to show for each picture")->check(CLI::Range(1, 1000));
  app.add_option("--threads", threads, "threads (0 = all cores)")->check(CLI::Range(0, 4096));
  app.add_option("images", files, "JPEG, PNG or BMP files")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);
    std::cerr << "classify: " << e.what() << " (see classify --help)\n";
    return 2;
  }

  try {
    if (threads > 0) atlas::set_num_threads(threads);
    const atlas::train::TrainedModel trained = atlas::train::load_trained_model(checkpoint);
    top = std::min<int64_t>(top, static_cast<int64_t>(trained.classes.size()));
    fmt::print("{}: {}, {} classes\n", checkpoint, trained.config.model, trained.classes.size());

    int unreadable = 0;
    for (const std::string& file : files) {
      atlas::Tensor image;
      try {
        image = atlas::data::read_image(file);
      } catch (const atlas::Error& e) {
        std::cerr << e.what() << '\n';
        ++unreadable;
        continue;
      }
      const auto start = std::chrono::steady_clock::now();
      const atlas::Tensor probabilities = trained.classify(image);
      const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
      fmt::print("\n{}  ({} x {}, {:.1f} ms)\n", file, image.size(1), image.size(0), took.count());
      const auto [values, classes] = atlas::topk(probabilities, top, 0);
      for (int64_t i = 0; i < top; ++i) {
        const float p = values.at<float>({i});
        fmt::print("  {:6.2f} %  {:<20}  {}\n", 100 * p, std::string(static_cast<size_t>(p * 20 + 0.5f), '#'),
                   trained.classes[static_cast<size_t>(classes.at<int64_t>({i}))]);
      }
    }
    return unreadable == 0 ? 0 : 2;
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 2;
  }
}
