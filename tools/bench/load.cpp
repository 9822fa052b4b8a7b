// Times loading of weights from a warm page cache, with the memory it takes.
//
//   load                                          a model of 740 million parameters as safetensors and as .pth
//   load --model mambavision-t --runs 9
//   load --model mambavision-t --file weights.pth.tar
//
// A load is everything between a path and a model that can run: the file is recognized and checked, names are fitted,
// values copied. Each one has a process of its own, because memory that a process got before comes at no cost.
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "atlas/core/parallel.h"
#include "atlas/io/formula.h"
#include "atlas/io/safetensors.h"
#include "atlas/io/state_dict.h"
#include "atlas/models/presets.h"
#include "atlas/nn/init.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/tensor/memory.h"
#include "atlas/tensor/print.h"
#include "tests/io/torch_file.h"
#include "tools/program/command_line.h"

namespace {

using namespace atlas;
namespace fs = std::filesystem;

/// The tensors as PyTorch would save them: a zip archive whose entries are stored, with a checksum each.
void save_pytorch(const std::string& path, const StateDict& tensors) {
  std::string pickle = std::string("\x80\2") + "}(";
  for (size_t i = 0; const auto& [name, t] : tensors) {
    std::vector<int32_t> shape(t.shape().begin(), t.shape().end()), strides(shape.size(), 1);
    for (size_t axis = shape.size(); axis-- > 1;) strides[axis - 1] = strides[axis] * shape[axis];
    pickle += atlas_test::pickled(name) +
              atlas_test::pickled_tensor(std::to_string(i++), static_cast<int32_t>(t.numel()), 0, shape, strides,
                                         t.dtype() == int64 ? "LongStorage" : "FloatStorage");
  }
  std::ofstream out(path, std::ios::binary);
  std::string list;
  size_t at = 0, count = 0;
  const auto add = [&](const std::string& name, const void* data, size_t bytes) {
    check(at + bytes < UINT32_MAX, "load", "{} would be larger than a plain zip archive can be", path);
    const uint32_t crc = atlas_test::checksum(data, bytes);
    const std::string padding((64 - (at + 34 + name.size()) % 64) % 64, 'Z');  // data on multiples of 64 bytes
    using atlas_test::little;
    const std::string common = little<uint16_t>(20) + little<uint16_t>(0) + little<uint16_t>(0) + little<uint32_t>(0) +
                               little(crc) + little(static_cast<uint32_t>(bytes)) +
                               little(static_cast<uint32_t>(bytes)) + little(static_cast<uint16_t>(name.size()));
    const std::string head = "PK\3\4" + common + little(static_cast<uint16_t>(4 + padding.size())) + name + "FB" +
                             little(static_cast<uint16_t>(padding.size())) + padding;
    list += "PK\1\2" + little<uint16_t>(20) + common + little<uint16_t>(0) + little<uint16_t>(0) + little<uint16_t>(0) +
            little<uint16_t>(0) + little<uint32_t>(0) + little(static_cast<uint32_t>(at)) + name;
    out << head;
    out.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
    at += head.size() + bytes;
    ++count;
  };
  pickle += "u.";
  add("archive/data.pkl", pickle.data(), pickle.size());
  add("archive/byteorder", "little", 6);
  for (size_t i = 0; const auto& [name, t] : tensors) {
    const Tensor flat = copy_of(t);
    add("archive/data/" + std::to_string(i++), flat.raw(), static_cast<size_t>(flat.numel() * item_size(flat.dtype())));
  }
  using atlas_test::little;
  const std::string n = little(static_cast<uint16_t>(count));
  out << list << "PK\5\6" << little<uint32_t>(0) << n << n << little(static_cast<uint32_t>(list.size()))
      << little(static_cast<uint32_t>(at)) << little<uint16_t>(0);
  out.close();
  check(out.good(), "load", "cannot write {}", path);
}

/// Peak of the memory that this process had, in bytes, with the pages of mapped files.
int64_t peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6)) * 1024;
  return 0;
}

/// Loads once and prints seconds, bytes of the weights, and bytes of memory beyond what the program had before.
void load_once(const std::string& name, const std::string& path) {
  const SkipInit filled_below;
  const auto model = models::make_model(name);
  parallel_for(1 << 10, 1, [](int64_t, int64_t) {});  // threads start
  const int64_t before = peak_memory();
  const auto start = std::chrono::steady_clock::now();
  model->load_state_dict(io::fit_state_dict(io::load_state_dict(path).tensors, model->state_dict()).tensors);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  int64_t bytes = 0;
  for (const auto& [key, t] : model->state_dict()) bytes += t.numel() * item_size(t.dtype());
  std::printf("%.6f %lld %lld\n", seconds, static_cast<long long>(bytes),
              static_cast<long long>(peak_memory() - before));
}

/// Runs this program anew for each load.
void measure(const std::string& name, const std::string& path, int runs) {
  std::vector<double> times;
  double bytes = 0, memory = 0;
  const std::string self = fs::read_symlink("/proc/self/exe");
  for (int i = 0; i < 1 + runs; ++i) {  // the first one fills the page cache
    const std::string command = fmt::format("'{}' --once --model '{}' --file '{}'", self, name, path);
    std::FILE* child = ::popen(command.c_str(), "r");
    check(child != nullptr, "load", "cannot start {}", command);
    double seconds = 0, peak = 0;
    const int read = std::fscanf(child, "%lf %lf %lf", &seconds, &bytes, &peak);
    check(::pclose(child) == 0 && read == 3, "load", "loading {} failed", path);
    if (i > 0) times.push_back(seconds);
    memory = std::max(memory, peak);
  }
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2];
  fmt::print("{:<44} {:7.3f} GB  {:7.3f} s median  {:7.3f} s best  {:5.2f} GB/s  memory {:7.3f} GB, {:.3f} of it\n",
             fs::path(path).filename().string(), bytes / 1e9, median, times.front(), bytes / 1e9 / median, memory / 1e9,
             memory / bytes);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  std::string model = "mambavision-l3-512", file, folder = fs::temp_directory_path();
  int runs = 5;
  bool once = false;
  program::CommandLine app("Times loading of weights from a warm page cache.", "load");
  app.add("--model", model, "preset");
  app.add("--file", file, "weights of that model; default: both formats, written to --folder for the time");
  app.add("--folder", folder, "for files that are written");
  app.add("--runs", runs, "loads of each file; the median counts").range(1, 1000);
  app.add("--once", once, "load --file once in this process").group("");
  return app.run(argc, argv, [&] {
    if (once) {
      load_once(model, file);
    } else if (!file.empty()) {
      check(fs::is_regular_file(file), "load", "{}: {}", file, fs::exists(file) ? "not a file" : "No such file");
      measure(model, file, runs);
    } else {
      const std::string base = fmt::format("{}/{}-{}", folder, model, ::getpid());
      const std::string files[] = {base + ".safetensors", base + ".pth"};
      struct Cleanup {
        const std::string* files;
        ~Cleanup() {
          for (int i = 0; i < 2; ++i) std::remove(files[i].c_str());
        }
      } cleanup{files};
      {
        const SkipInit filled_below;
        const auto made = models::make_model(model);
        io::formula_fill(*made);
        io::save_safetensors(files[0], made->state_dict());
        save_pytorch(files[1], made->state_dict());
      }
      empty_cache();
      for (const std::string& f : files) measure(model, f, runs);
    }
    return 0;
  });
}
