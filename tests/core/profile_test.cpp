#include "atlas/core/profile.h"

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "atlas/autograd/backward.h"
#include "atlas/core/rng.h"
#include "atlas/models/presets.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/conv.h"
#include "atlas/ops/loss.h"
#include "atlas/ops/matmul.h"
#include "atlas/ops/reduce.h"
#include "atlas/tensor/create.h"
#include "tests/data/data_test.h"

using namespace atlas;

TEST_CASE("kernels are recorded with their arithmetic and traffic, and only while a profile is taken") {
  stop_profile();
  const Tensor a = ones({3, 5}), b = ones({7, 5});
  const size_t before = profile_records().size();
  linear(a, b);
  CHECK(profile_records().size() == before);
  start_profile();
  CHECK(profile_records().empty());
  linear(a, b);
  conv2d(ones({2, 6, 6, 4}), ones({8, 3, 3, 4}), {}, {.padding = {1, 1}});
  stop_profile();
  linear(a, b);
  const auto ops = profile_sums([](const ProfileRecord& r) { return std::string(r.op); });
  const auto of = [&](const std::string& op) {
    for (const ProfileSum& s : ops)
      if (s.key == op) return s;
    return ProfileSum{};
  };
  CHECK(of("matmul").calls == 1);
  CHECK(of("matmul").flops == 2 * 3 * 5 * 7);
  CHECK(of("matmul").bytes == 4 * (3 * 5 + 5 * 7 + 3 * 7));
  CHECK(of("conv2d").flops == 2.0 * 2 * 36 * 9 * 4 * 8);
  CHECK(profile_table().find("matmul") != std::string::npos);
}

TEST_CASE("layers are named, backward's too, and times fit into the time that passed") {
  manual_seed(1);
  const auto model = models::make_model("mambavision-toy");
  const auto start = std::chrono::steady_clock::now();
  start_profile();
  backward(cross_entropy((*model)(randn({2, 32, 32, 3})), zeros({2}, int64)));
  stop_profile();
  const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  double total = 0, end = 0;
  std::map<uint64_t, double> last_end;  // of each thread
  size_t named = 0;
  std::map<std::string, int> layers;
  for (const ProfileRecord& r : profile_records()) {
    // Kernels of one thread do not overlap, and are listed in the order in which they ended.
    CHECK(r.start >= last_end[r.thread]);
    last_end[r.thread] = r.start + r.time;
    if (r.thread == profile_records().front().thread) total += r.time;
    end = std::max(end, r.start + r.time);
    ++layers[r.layer];
    named += r.layer.empty() ? 0 : 1;
    if (r.layer.empty()) continue;
    bool known = false;
    for (const auto& [path, module] : model->named_modules()) known = known || path == r.layer;
    CHECK_MESSAGE(known, r.layer);
  }
  CHECK(total > 0);
  CHECK(total <= wall);
  CHECK(end <= wall);
  CHECK(named > profile_records().size() * 8 / 10);
  for (const auto& [name, products] : {std::pair<std::string, int64_t>{"levels.2.blocks.0.mixer.in_proj", 3},
                                       {"levels.2.blocks.0.mlp", 6}}) {  // y, dx and dW of one and of two products
    const std::string& layer = name;  // clang below 16 cannot capture a structured binding
    CAPTURE(layer);
    CHECK(layers.contains(layer));
    const auto sums = profile_sums(
        [&](const ProfileRecord& r) { return r.layer == layer && r.op == std::string("matmul") ? "these" : ""; });
    int64_t calls = 0;
    for (const ProfileSum& s : sums)
      if (s.key == "these") calls = static_cast<int64_t>(s.calls);
    CHECK(calls == products);
  }
}

TEST_CASE("the trace is JSON whose events have names and times") {
  const atlas_test::Scratch scratch;
  start_profile();
  const Tensor y = matmul(ones({4, 4}), ones({4, 4})).sum();
  stop_profile();
  write_profile_trace(scratch / "trace.json");
  std::ifstream in(scratch / "trace.json");
  const auto trace = nlohmann::json::parse(std::string(std::istreambuf_iterator<char>(in), {}));
  REQUIRE(trace["traceEvents"].size() == profile_records().size());
  CHECK(trace["traceEvents"][0]["ph"] == "X");
  bool found = false;
  const std::vector<ProfileRecord> records = profile_records();
  for (size_t i = 0; i < records.size(); ++i) {
    const auto& e = trace["traceEvents"][i];
    CHECK(e["name"] == records[i].op);
    CHECK(std::abs(e["ts"].get<double>() - 1e6 * records[i].start) < 0.01);  // microseconds
    CHECK(std::abs(e["dur"].get<double>() - 1e6 * records[i].time) < 0.01);
    found = found || (e["name"] == "matmul" && e["args"]["GFLOP"].get<double>() == doctest::Approx(128e-9));
  }
  CHECK(found);
  CHECK(atlas_test::message_of([] { write_profile_trace("/no/such/folder/x"); }) ==
        "[profile] cannot write /no/such/folder/x: No such file or directory");
}
