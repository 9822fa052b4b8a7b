// The training checkpoint: continuing bit for bit, files that are not what they should be, a disk that is full.
#include "atlas/io/checkpoint.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "atlas/core/rng.h"
#include "atlas/io/safetensors.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/reduce.h"
#include "atlas/optim/adam.h"
#include "atlas/optim/ema.h"
#include "atlas/tensor/memory.h"
#include "atlas/tensor/print.h"

using namespace atlas;
namespace fs = std::filesystem;

namespace {

struct Folder {
  Folder() : path(fs::temp_directory_path() / ("atlas-checkpoint-test-" + std::to_string(::getpid()))) {
    fs::create_directory(path);
  }
  ~Folder() { fs::remove_all(path); }
  std::string file(const char* name) const { return (path / name).string(); }
  int64_t files() const { return std::distance(fs::directory_iterator(path), fs::directory_iterator()); }
  fs::path path;
};

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class Small : public Module {
 public:
  explicit Small(int64_t outputs = 3)
      : conv(empty({outputs, 3, 3, 2})), bias(empty({outputs})), mean(empty({outputs})) {
    for (Tensor* t : {&conv, &bias, &mean})
      for (int64_t i = 0; i < t->numel(); ++i) t->data<float>()[i] = static_cast<float>(i % 7) / 7;
    register_parameter("conv", conv, Layout::conv2d);
    register_parameter("bias", bias);
    register_buffer("mean", mean);
  }
  Tensor conv, bias, mean;
};

class Other : public Module {
 public:
  Other() { register_parameter("head", head); }
  Tensor head = empty({2, 2});
};

// A "step" whose gradients come from the default generator, as a real run's do through dropout and augmentation.
struct Run {
  void steps(int n) {
    for (int k = 0; k < n; ++k, ++step) {
      for (Tensor p : model.parameters()) {
        Tensor g = empty_like(p);
        const uint64_t stream = default_generator().next();
        for (int64_t i = 0; i < g.numel(); ++i)
          g.data<float>()[i] = Philox(default_generator().seed, stream, static_cast<uint64_t>(i)).uniform(0) - 0.4f;
        p.set_grad(g);
      }
      optimizer.step();
      model.mean.data<float>()[0] += 1;
      model.mean.bump_version();
      ema.update();
    }
  }
  io::Checkpoint checkpoint() const {
    io::Checkpoint c;
    c.model_name = "small";
    c.config_json = "{\"lr\": 0.01}";
    c.model = model.state_dict();
    c.optimizer = optimizer.state_dict();
    c.ema = ema.state_dict();
    c.extra["order"] = copy_of(model.bias);
    c.generator = default_generator();
    c.epoch = 2;
    c.step = step;
    c.best_metric = 0.875;
    return c;
  }
  void restore(const io::Checkpoint& c) {
    io::restore_model(model, c, "file", "small");
    optimizer.load_state_dict(c.optimizer);
    ema.load_state_dict(c.ema);
    default_generator() = c.generator;
    step = c.step;
  }
  Small model;
  AdamW optimizer{decay_groups(model, 0.05), {.lr = 0.01}};
  Ema ema{model, {.decay = 0.9}};
  int64_t step = 0;
};

}  // namespace

TEST_CASE("a run continues bit for bit from its checkpoint") {
  const Folder folder;
  const std::string path = folder.file("last.ckpt");
  // A seed that uses the sign bit of the stored integer.
  const uint64_t seed = 0xF000000000000001u;
  manual_seed(seed);
  Run whole;
  whole.steps(5);
  io::save_checkpoint(folder.file("whole.ckpt"), whole.checkpoint());

  manual_seed(seed);
  {
    Run first;
    first.steps(3);
    io::save_checkpoint(path, first.checkpoint());
  }
  manual_seed(1);
  const io::Checkpoint c = io::load_checkpoint(path);
  CHECK(c.model_name == "small");
  CHECK(c.config_json == "{\"lr\": 0.01}");
  CHECK(c.epoch == 2);
  CHECK(c.step == 3);
  CHECK(c.best_metric == 0.875);
  CHECK(c.generator.seed == seed);
  CHECK(c.extra.at("order").shape() == Shape{3});
  CHECK(c.model.at("conv").shape() == Shape{3, 2, 3, 3});  // published layout
  Run second;
  second.restore(c);
  second.steps(2);
  io::save_checkpoint(path, second.checkpoint());
  CHECK(bytes_of(path) == bytes_of(folder.file("whole.ckpt")));
  CHECK(folder.files() == 2);
  manual_seed(0);
}

TEST_CASE("a checkpoint of another model is refused with the names that differ") {
  const Folder folder;
  const std::string path = folder.file("last.ckpt");
  Run run;
  io::save_checkpoint(path, run.checkpoint());
  const io::Checkpoint c = io::load_checkpoint(path);
  Other other;
  CHECK_THROWS_WITH_AS(io::restore_model(other, c, "last.ckpt", "other"),
                       doctest::Contains("last.ckpt is a checkpoint of small and does not fit other"), Error);
  CHECK_THROWS_WITH_AS(io::restore_model(other, c, "last.ckpt", "other"),
                       doctest::Contains("1 missing: head; 3 unexpected: bias, conv, mean"), Error);
  Small wider(5);
  const Tensor before = copy_of(wider.bias);
  CHECK_THROWS_WITH_AS(io::restore_model(wider, c, "last.ckpt", "small"),
                       doctest::Contains("is a checkpoint of small with another configuration and does not fit small"),
                       Error);
  CHECK(std::memcmp(before.raw(), wider.bias.raw(), 20) == 0);
}

TEST_CASE("files that are no checkpoint, or not all of one") {
  const Folder folder;
  const std::string path = folder.file("x.ckpt");
  CHECK_THROWS_WITH_AS(io::load_checkpoint(path), doctest::Contains("No such file"), Error);
  Run run;
  const io::Checkpoint c = run.checkpoint();
  io::save_checkpoint(path, c);
  const std::string whole = bytes_of(path);
  for (size_t length : {size_t{0}, size_t{7}, size_t{100}, whole.size() / 2, whole.size() - 1}) {
    std::ofstream(path, std::ios::binary | std::ios::trunc).write(whole.data(), static_cast<std::streamsize>(length));
    CHECK_THROWS_WITH_AS(io::load_checkpoint(path), doctest::Contains("x.ckpt"), Error);
  }

  io::save_safetensors(path, c.model);
  CHECK_THROWS_WITH_AS(io::load_checkpoint(path), doctest::Contains("no training checkpoint"), Error);
  const auto damaged = [&](auto change) {
    io::save_checkpoint(path, c);
    auto file = io::load_safetensors(path);
    change(file);
    io::save_safetensors(path, file.tensors, file.metadata);
  };
  damaged([](auto& f) { f.metadata["version"] = "2"; });
  CHECK_THROWS_WITH_AS(io::load_checkpoint(path),
                       doctest::Contains("has version '2' of the format, this program reads 1"), Error);
  damaged([](auto& f) { f.tensors.erase("rng"); });
  CHECK_THROWS_WITH_AS(io::load_checkpoint(path), doctest::Contains("the entry 'rng' is missing"), Error);
  damaged([](auto& f) { f.tensors["counters.step"] = empty({2}, int64); });
  CHECK_THROWS_WITH_AS(io::load_checkpoint(path),
                       doctest::Contains("'counters.step' should be int64[], found int64[2]"), Error);
  damaged([](auto& f) { f.tensors["stranger"] = empty({2}); });
  CHECK_THROWS_WITH_AS(io::load_checkpoint(path), doctest::Contains("'stranger' belongs to no part of a checkpoint"),
                       Error);
}

TEST_CASE("a write that fails leaves the old checkpoint and nothing else") {
  const Folder folder;
  const std::string path = folder.file("last.ckpt");
  Run run;
  io::save_checkpoint(path, run.checkpoint());
  const std::string before = bytes_of(path);
  run.steps(1);

  // A file-size limit stands for the full disk: writes stop in the middle of the file.
  rlimit limit{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &limit) == 0);
  const rlimit small{2048, limit.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  std::string message;
  try {
    io::save_checkpoint(path, run.checkpoint());
  } catch (const Error& e) {
    message = e.what();
  }
  REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  std::signal(SIGXFSZ, handler);
  CHECK(message.find("last.ckpt") != std::string::npos);
  CHECK(message.find("File too large") != std::string::npos);
  CHECK(bytes_of(path) == before);
  CHECK(folder.files() == 1);
  CHECK_THROWS_AS(io::save_checkpoint(folder.file("no/such/folder"), run.checkpoint()), Error);
}

TEST_CASE("temporary files of killed writers are removed, those of living ones stay") {
  const Folder folder;
  const std::string path = folder.file("last.ckpt");
  const pid_t dead = ::fork();
  if (dead == 0) ::_exit(0);
  REQUIRE(dead > 0);
  REQUIRE(::waitpid(dead, nullptr, 0) == dead);
  const std::string stale = path + ".tmp-" + std::to_string(dead),
                    living = path + ".tmp-" + std::to_string(::getppid()), stranger = path + ".tmp-notes";
  for (const std::string& p : {stale, living, stranger}) std::ofstream(p) << "x";
  Run run;
  io::save_checkpoint(path, run.checkpoint());
  CHECK(!fs::exists(stale));
  CHECK(fs::exists(living));
  CHECK(fs::exists(stranger));
}
