// attention against its composite of plain ops: one and several sources, layouts, blocks, gradients, errors.
#include "atlas/ops/attention.h"

#include <doctest/doctest.h>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/gradcheck.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/compare.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/select.h"
#include "atlas/ops/shape.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/create.h"
#include "random_input.h"

using namespace atlas;
using test::difference;
using test::error_of;
using test::random;

namespace {

struct Source {
  int64_t batch, length;
};

/// Outputs and all gradients of the op and of its reference.
void compare(int64_t B, int64_t L, int64_t heads, int64_t D, const std::vector<Source>& shapes, DType dtype,
             double limit, double scale = 0) {
  Tensor q = random({B, L, heads, D}, 1, dtype);
  std::vector<KeyValue> sources;
  std::vector<Tensor> leaves{q};
  uint64_t seed = 2;
  for (const Source& s : shapes) {
    sources.push_back(
        {random({s.batch, s.length, heads, D}, seed, dtype), random({s.batch, s.length, heads, D}, seed + 1, dtype)});
    leaves.insert(leaves.end(), {sources.back().k, sources.back().v});
    seed += 2;
  }
  for (Tensor& t : leaves) t.set_requires_grad();
  const Tensor y = attention(q, sources, scale), want = attention_reference(q, sources, scale);
  CHECK(difference(y, want) < limit);
  const Tensor dy = random(y.shape(), 99, dtype);
  const auto ours = grad({y}, leaves, {dy}), theirs = grad({want}, leaves, {dy});
  for (size_t i = 0; i < leaves.size(); ++i) {
    CAPTURE(i);
    CHECK(difference(ours[i], theirs[i]) < limit);
  }
}

}  // namespace

TEST_CASE("attention equals its reference, values and gradients") {
  for (const auto& [dtype, limit] : {std::pair{float32, 2e-5}, std::pair{float64, 1e-12}}) {
    compare(2, 5, 3, 4, {{2, 7}}, dtype, limit);
    compare(1, 1, 1, 1, {{1, 1}}, dtype, limit);
    compare(2, 49, 2, 7, {{2, 49}}, dtype, limit, 0.3);
    compare(1, 70, 1, 16, {{1, 600}}, dtype, limit);  // several blocks of queries and of keys
    compare(4, 6, 2, 8, {{4, 5}, {2, 3}, {1, 9}}, dtype, limit);
    compare(6, 3, 2, 5, {{2, 4}, {3, 3}}, dtype, limit);  // shares of 3 and 2: six entries go together
    compare(2, 66, 1, 3, {{2, 2}, {1, 530}}, dtype, limit);
  }
}

TEST_CASE("attention reads views of a fused projection in place") {
  Tensor qkv = random({2, 9, 3, 4, 5}, 1);
  qkv.set_requires_grad();
  const auto part = [&](int64_t i) { return select(qkv, 2, i); };
  const Tensor y = attention(part(0), part(1), part(2)), want = attention_reference(part(0), {{part(1), part(2)}});
  CHECK(y.is_contiguous());
  CHECK(difference(y, want) < 1e-12);
  const Tensor dy = permute(random({5, 4, 9, 2}, 2), {3, 2, 1, 0});
  CHECK(difference(grad({y}, {qkv}, {dy})[0], grad({want}, {qkv}, {dy})[0]) < 1e-12);
  const Tensor spread = test::scattered(permute(random({2, 9, 5, 4}, 3), {0, 1, 3, 2}));
  CHECK(difference(attention(spread, spread, spread), attention_reference(spread, {{spread, spread}})) < 1e-12);
  const Tensor one = expand(random({1, 1, 4, 5}, 4), {2, 9, 4, 5});  // the same token over and over
  CHECK(difference(attention(one, one, one), attention_reference(one, {{one, one}})) < 1e-12);
}

TEST_CASE("attention gradients by finite differences") {
  CHECK_NOTHROW(gradcheck([](const std::vector<Tensor>& in) { return attention(in[0], in[1], in[2]); },
                          {random({2, 3, 2, 3}, 1), random({2, 4, 2, 3}, 2), random({2, 4, 2, 3}, 3)}));
  CHECK_NOTHROW(gradcheck(
      [](const std::vector<Tensor>& in) {
        return attention(in[0], {{in[1], in[2]}, {in[3], in[4]}}, 0.7);
      },
      {test::scattered(random({4, 2, 1, 2}, 1)), random({2, 3, 1, 2}, 2), random({2, 3, 1, 2}, 3),
       random({1, 2, 1, 2}, 4), random({1, 2, 1, 2}, 5)}));
}

TEST_CASE("attention keeps its precision when scores are large") {
  const Tensor q = random({1, 8, 1, 4}, 1), k = random({1, 600, 1, 4}, 2), v = random({1, 600, 1, 4}, 3);
  CHECK(difference(attention(q, k, v, 400), attention_reference(q, {{k, v}}, 400)) < 1e-12);
}

TEST_CASE("attention with nothing to do") {
  CHECK(attention(empty({0, 3, 2, 4}), empty({0, 5, 2, 4}), empty({0, 5, 2, 4})).shape() == Shape({0, 3, 2, 4}));
  CHECK(attention(empty({1, 0, 2, 4}), empty({1, 5, 2, 4}), empty({1, 5, 2, 4})).shape() == Shape({1, 0, 2, 4}));
  const Tensor y = attention(empty({1, 3, 2, 4}), empty({1, 0, 2, 4}), empty({1, 0, 2, 4}));
  CHECK(difference(y, zeros({1, 3, 2, 4})) == 0);
  Tensor k = random({1, 5, 2, 4}, 1);
  k.set_requires_grad();
  CHECK(difference(grad({attention(empty({1, 0, 2, 4}, float64), k, k)}, {k})[0], zeros(k.shape())) == 0);
}

TEST_CASE("attention does not depend on the number of threads") {
  Tensor q = random({8, 70, 2, 8}, 1, float32), k = random({8, 20, 2, 8}, 2, float32),
         shared = random({2, 33, 2, 8}, 3, float32);
  for (Tensor* t : {&q, &k, &shared}) t->set_requires_grad();
  CHECK(test::same_for_any_threads([&] {
    const Tensor y = attention(q, {{k, k}, {shared, shared}});
    auto all = grad({y}, {q, k, shared}, {random(y.shape(), 4, float32)});
    all.push_back(y.detach());
    return all;
  }));
}

TEST_CASE("attention gives no gradient to what needs none") {
  Tensor q = random({1, 3, 1, 2}, 1), k = random({1, 4, 1, 2}, 2), v = random({1, 4, 1, 2}, 3);
  q.set_requires_grad();
  backward(sum(attention(q, k, v)));
  CHECK(q.grad().shape() == q.shape());
  CHECK_FALSE(k.grad().defined());
  q.set_requires_grad(false);
  v.set_requires_grad();
  backward(sum(attention(q, k, v)));
  CHECK(v.grad().shape() == v.shape());
}

TEST_CASE("errors of attention name the source, the axis and the lengths") {
  const auto text = [](const Shape& q, const Shape& k, const Shape& v) {
    return error_of([&] { attention(empty(q), empty(k), empty(v)); });
  };
  CHECK(text({2, 3, 4}, {2, 3, 4, 5}, {2, 3, 4, 5}) == "[attention] needs q[B,L,heads,D], got float32[2,3,4]");
  CHECK(text({2, 3, 4, 5}, {2, 3, 4, 5}, {2, 2, 4, 5}) ==
        "[attention] source 0: needs k and v of one shape [B,L,heads,D], got k float32[2,3,4,5], v float32[2,2,4,5]");
  CHECK(text({2, 3, 4, 5}, {2, 3, 2, 5}, {2, 3, 2, 5}) ==
        "[attention] source 0: axis 2 (heads) differs: q float32[2,3,4,5] has 4, k float32[2,3,2,5] has 2");
  CHECK(text({4, 3, 4, 5}, {3, 3, 4, 5}, {3, 3, 4, 5}).find("(axis 0 = 4) is not a multiple of that of k") !=
        std::string::npos);
  CHECK(error_of([] {
          attention(empty({1, 1, 1, 1}), std::vector<KeyValue>{});
        }) == "[attention] needs at least one source of keys and values");
}

TEST_CASE("masked keys are not read, whatever they hold, and get no gradient") {
  for (const auto& [dtype, limit] : {std::pair{float32, 2e-5}, std::pair{float64, 1e-12}}) {
    // Two images of three windows each; whole blocks of the long source are masked, and all keys of the short one.
    Tensor q = random({6, 5, 2, 4}, 1, dtype), k = random({6, 7, 2, 4}, 2, dtype), v = random({6, 7, 2, 4}, 3, dtype),
           far = random({2, 1100, 2, 4}, 4, dtype), none = random({1, 3, 2, 4}, 5, dtype);
    std::vector<uint8_t> thirds;
    for (int i = 0; i < 21; ++i) thirds.push_back(i % 3 == 1 ? 1 : 0);
    const Tensor mask = from_vector(thirds, {3, 7}).to(boolean), far_mask = lt(arange(1100), 1090).reshape({1, 1100}),
                 all = ones({1, 3}, boolean);
    const std::vector<KeyValue> sources{{none, none, all}, {far, far, far_mask}, {k, v, mask}};
    for (Tensor* t : {&q, &k, &v, &far, &none}) t->set_requires_grad();
    const Tensor y = attention(q, sources), want = attention_reference(q, sources);
    CHECK(difference(y, want) < limit);
    const Tensor dy = random(y.shape(), 9, dtype);
    const auto ours = grad({y}, {q, k, v, far, none}, {dy}), theirs = grad({want}, {q, k, v, far, none}, {dy});
    for (size_t i = 0; i < ours.size(); ++i) CHECK(difference(ours[i], theirs[i]) < limit);
    CHECK(max(abs(ours[4])).item() == 0);
    CHECK(max(abs(ours[3].slice(1, 0, 1090))).item() == 0);

    const Tensor huge =
        where(mask.reshape({1, 3, 7, 1, 1}), full({1, 1, 1, 1, 1}, 1e30, dtype), k.detach().reshape({2, 3, 7, 2, 4}))
            .reshape(k.shape());
    CHECK(difference(attention(q, {{huge, huge, mask}}), attention(q, {{k, k, mask}})) == 0);
    CHECK(max(abs(attention(q, {{none, none, all}}))).item() == 0);
    // The composition gives such rows 0 too, and no gradient.
    const Tensor nothing = attention_reference(q, {{none, none, all}});
    CHECK(max(abs(nothing)).item() == 0);
    for (const Tensor& g : grad({nothing}, {q, none}, {dy})) CHECK(max(abs(g)).item() == 0);
    CHECK(max(abs(attention_probabilities(q, {{none, none, all}}))).item() == 0);
  }
  const Tensor t = random({4, 3, 1, 2}, 1);
  const Tensor bad = empty({3, 3}, boolean);
  CHECK(error_of([&] {
          attention(t, {{t, t, bad}});
        }).find("a contiguous bool[M,3] with M dividing 4") != std::string::npos);
}

TEST_CASE("a NaN among the queries is not hidden by a mask") {
  Tensor q = full({1, 1, 1, 1}, std::nan(""), float64), k = ones({1, 2, 1, 1}, float64);
  Tensor mask = empty({1, 2}, boolean);
  mask.fill_(0);
  CHECK(std::isnan(attention(q, {{k, k, mask}}).item()));
}
