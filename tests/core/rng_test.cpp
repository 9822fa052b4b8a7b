// Philox against the known answers published with Random123, and the generator's streams.
// ctest-device: cpu
#include "atlas/core/rng.h"

#include <doctest/doctest.h>

#include <thread>
#include <vector>

#include "atlas/ops/arithmetic.h"
#include "atlas/tensor/create.h"

using namespace atlas;

TEST_CASE("Philox 4x32-10: the published known answers") {
  const auto equal = [](const Philox& p, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    return p.v[0] == a && p.v[1] == b && p.v[2] == c && p.v[3] == d;
  };
  CHECK(equal(Philox(0, 0, 0), 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  CHECK(equal(Philox(~0ull, ~0ull, ~0ull), 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  // Counter 243f6a88 85a308d3 13198a2e 03707344, key a4093822 299f31d0 (digits of pi).
  CHECK(equal(Philox(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88), 0xd16cfe09, 0x94fdcceb, 0x5001e420,
              0x24126ea1));
}

TEST_CASE("uniform and normal stay in range") {
  double sum = 0, squares = 0;
  const int n = 20000;
  for (int i = 0; i < n; ++i) {
    const Philox p(7, 3, static_cast<uint64_t>(i));
    for (int k = 0; k < 4; ++k) CHECK_UNARY(p.uniform(k) >= 0.0f && p.uniform(k) < 1.0f);
    CHECK_UNARY(p.uniform_double(1) >= 0.0 && p.uniform_double(1) < 1.0);
    sum += p.normal();
    squares += p.normal() * p.normal();
  }
  CHECK(sum / n == doctest::Approx(0).epsilon(0.03).scale(1));
  CHECK(squares / n == doctest::Approx(1).epsilon(0.03));
}

TEST_CASE("a generator hands out one stream per call and restarts with its seed") {
  manual_seed(11);
  CHECK(default_generator().next() == 0);
  CHECK(default_generator().next() == 1);
  CHECK(default_generator().seed == 11);
  manual_seed(11);
  CHECK(default_generator().stream == 0);
}

TEST_CASE("a thread may have a default generator of its own") {
  manual_seed(11);
  default_generator().next();
  Generator own{5, 40};
  {
    const GeneratorScope scope(own);
    CHECK(default_generator().seed == 5);
    CHECK(default_generator().next() == 40);
    Generator inner{6, 0};
    {
      const GeneratorScope nested(inner);
      CHECK(default_generator().next() == 0);
    }
    CHECK(default_generator().next() == 41);
    uint64_t elsewhere = 0;
    std::thread([&] { elsewhere = default_generator().seed; }).join();
    CHECK(elsewhere == 11);  // other threads keep the process's
    manual_seed(7);          // restarts the one in use here
    CHECK(own.seed == 7);
    CHECK(own.stream == 0);
  }
  CHECK(default_generator().seed == 11);
  CHECK(default_generator().stream == 1);
  CHECK(own.stream == 0);
}

TEST_CASE("threads with generators of their own draw at once, each what its seed gives") {
  const auto draw = [](uint64_t seed) {
    Generator own{seed, 0};
    const GeneratorScope scope(own);
    std::vector<float> all;
    for (int i = 0; i < 50; ++i) all.push_back(randn({3}, float32, default_generator(), Device{}).data<float>()[2]);
    return all;
  };
  std::vector<std::vector<float>> together(4);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < together.size(); ++i) threads.emplace_back([&, i] { together[i] = draw(i); });
  for (std::thread& t : threads) t.join();
  for (size_t i = 0; i < together.size(); ++i) CHECK(together[i] == draw(i));
  CHECK(together[0] != together[1]);
}
