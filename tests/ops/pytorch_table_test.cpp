// Rows of the table in atlas/ops/pytorch.md: each is on that page, compiled here, and gives PyTorch's result, which
// tools/reference/make_pytorch_table.py has computed from the same page. A row that stands in one place alone fails.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <string>

#include "atlas/atlas.h"
#include "atlas/io/safetensors.h"
#include "tests/source_dir.h"

using namespace atlas;

namespace {

Tensor x, y, p, z, v, k, i, labels, a, b, image, filters, up, boxes, goals, scores, groups, rois;

struct Row {
  const char* torch;
  const char* atlas;
  Tensor (*run)();
};
#define ROW(torch, ...)                                     \
  {                                                         \
    torch, #__VA_ARGS__, [] { return Tensor(__VA_ARGS__); } \
  }

// clang-format off
const Row kRows[] = {
    ROW("x + y * 2 - 1 / y", x + y * 2 - 1 / y),
    ROW("k + 1", k + 1),
    ROW("x ** 3", pow(x, 3)),
    ROW("torch.pow(p, y)", pow(p, y)),
    ROW("2 ** y", pow(2, y)),
    ROW("k ** 2", pow(k, 2)),
    ROW("x * a", x * a),
    ROW("torch.floor(x)", floor(x)),
    ROW("torch.ceil(x)", ceil(x)),
    ROW("torch.round(x * 4 / 2)", round(x * 4 / 2)),
    ROW("torch.sign(z)", sign(z)),
    ROW("torch.sin(x) + torch.cos(y)", sin(x) + cos(y)),
    ROW("torch.exp(x) + torch.log(p) + torch.sqrt(p) + torch.abs(y)", exp(x) + log(p) + sqrt(p) + abs(y)),
    ROW("torch.clamp(x, -0.5, 0.5)", clamp(x, -0.5, 0.5)),
    ROW("torch.clamp(k, min=1)", maximum(k, 1)),
    ROW("torch.clamp(x, 1, -1)", clamp(x, 1, -1)),
    ROW("torch.maximum(z, y)", maximum(z, y)),
    ROW("torch.minimum(k, torch.flip(k, [1]))", minimum(k, flip(k, 1))),
    ROW("F.relu(x) + F.gelu(x) + F.silu(x) + F.softplus(x)", relu(x) + gelu(x) + silu(x) + softplus(x)),
    ROW("x < y", x < y),
    ROW("k >= 1", k >= 1),
    ROW("k == torch.flip(k, [1])", k == flip(k, 1)),
    ROW("z != z", z != z),
    ROW("(x > 0) & (x < 1)", (x > 0) & (x < 1)),
    ROW("torch.logical_and(a, k)", logical_and(a, k)),
    ROW("torch.logical_or(a, b)", logical_or(a, b)),
    ROW("torch.logical_xor(a, b)", logical_xor(a, b)),
    ROW("torch.logical_not(z)", logical_not(z)),
    ROW("~a", ~a),
    ROW("a * b", a * b),
    ROW("torch.any(a)", any(a)),
    ROW("torch.all(a, 1, keepdim=True)", all(a, 1, true)),
    ROW("torch.isfinite(z)", isfinite(z)),
    ROW("torch.tensor(torch.allclose(x, x + 1e-9))", full({}, allclose(x, x + 1e-9), boolean)),
    ROW("torch.where(a, x, y)", where(a, x, y)),
    ROW("x.masked_fill(a, 7)", masked_fill(x, a, 7)),
    ROW("torch.sum(x)", sum(x)),
    ROW("torch.sum(x, 0)", sum(x, 0)),
    ROW("x.mean(1, keepdim=True)", x.mean(1, true)),
    ROW("torch.sum(a, 1)", sum(a, 1)),
    ROW("torch.amax(z, 1)", max(z, 1)),
    ROW("torch.amin(x, (0, 1))", min(x, {0, 1})),
    ROW("torch.max(x, 1).values", max(x, 1)),
    ROW("torch.amax(a, 0)", max(a, 0)),
    ROW("torch.var(x, 1)", var(x, 1)),
    ROW("torch.logsumexp(x, 1)", logsumexp(x, 1)),
    ROW("torch.norm(x)", norm(x)),
    ROW("torch.linalg.vector_norm(x, 3, 1)", norm(x, 3, 1)),
    ROW("torch.linalg.vector_norm(x, float(\"inf\"))", norm(x, INFINITY)),
    ROW("F.softmax(x, 1) + F.log_softmax(y, 1)", softmax(x, 1) + log_softmax(y, 1)),
    ROW("torch.argmax(x, 1)", argmax(x, 1)),
    ROW("torch.sort(z, dim=1, stable=True).values", sort(z, 1).first),
    ROW("torch.sort(k, dim=1, descending=True, stable=True).indices", sort(k, 1, true).second),
    ROW("torch.topk(x, 2, 1).values", topk(x, 2, 1).first),
    ROW("torch.cumsum(x, 0)", cumsum(x, 0)),
    ROW("torch.nonzero(k)", nonzero(k)),
    ROW("torch.masked_select(x, a)", masked_select(x, a)),
    ROW("torch.gather(x, 1, torch.clamp(k, 0, 2))", gather(x, 1, clamp(k, 0, 2))),
    ROW("torch.index_select(x, 1, i)", index_select(x, 1, i)),
    ROW("torch.index_add(x, 1, i, torch.index_select(y, 1, i))", index_add(x, 1, i, index_select(y, 1, i))),
    ROW("F.one_hot(i, 3)", one_hot(i, 3)),
    ROW("torch.flip(x, [0, 1])", flip(x, {0, 1})),
    ROW("torch.cat([x, y], 1)", cat({x, y}, 1)),
    ROW("torch.stack([x, y])", stack({x, y})),
    ROW("x[1]", x[1]),
    ROW("x[:, 1:]", x.slice(1, 1, kEnd)),
    ROW("x.reshape(3, -1).permute(1, 0)", x.reshape({3, -1}).permute({1, 0})),
    ROW("x @ y.T", matmul(x, y.transpose(0, 1))),
    ROW("F.linear(x, y, v[:2])", linear(x, y, v.slice(0, 0, 2))),
    ROW("F.cross_entropy(x, labels)", cross_entropy(x, labels)),
    ROW("F.cross_entropy(x, labels, weight=p[0], ignore_index=2, label_smoothing=0.1)", cross_entropy(x, labels, {.label_smoothing = 0.1, .ignore_index = 2, .weight = p[0]})),
    ROW("F.cross_entropy(x, labels, reduction=\"none\")", cross_entropy(x, labels, {.reduction = Reduction::none})),
    ROW("F.cross_entropy(image, (image[:, 0] > 0).long())", cross_entropy(image, (image.select(3, 0) > 0).to(int64), {})),
    ROW("F.mse_loss(x, y)", mse_loss(x, y)),
    ROW("F.l1_loss(x, y, reduction=\"sum\")", l1_loss(x, y, Reduction::sum)),
    ROW("F.smooth_l1_loss(x, y, beta=0.5)", smooth_l1_loss(x, y, 0.5)),
    ROW("F.binary_cross_entropy_with_logits(x, a.double(), pos_weight=v.abs())", bce_with_logits(x, a.to(float64), {.pos_weight = abs(v)})),
    ROW("F.conv2d(image, filters, stride=2, padding=1)", conv2d(image, filters, {}, {.stride = {2, 2}, .padding = {1, 1}})),
    ROW("F.conv_transpose2d(image, up, stride=2, padding=1, output_padding=1)", conv_transpose2d(image, up, {}, {.stride = {2, 2}, .padding = {1, 1}, .output_padding = {1, 1}})),
    ROW("F.interpolate(image, (7, 9), mode=\"bilinear\")", resize(image, 7, 9, Interpolation::bilinear)),
    ROW("F.interpolate(image, (7, 9), mode=\"bilinear\", align_corners=True)", resize(image, 7, 9, Interpolation::bilinear, false, true)),
    ROW("F.max_pool2d(image, 2)", max_pool2d(image, 2)),
    ROW("tv.box_iou(boxes, goals)", pairwise_iou(boxes, goals)),
    ROW("torch.diagonal(tv.generalized_box_iou(boxes, goals))", generalized_iou(boxes, goals)),
    ROW("tv.box_area(boxes)", box_area(boxes)),
    ROW("tv.nms(boxes, scores, 0.3)", nms(boxes, scores, 0.3)),
    ROW("tv.batched_nms(boxes, scores, groups, 0.3)", nms(boxes, scores, 0.3, groups)),
    ROW("tv.roi_align(image, rois, 2, 0.5, 0, True)", roi_align(image, rois, 2, 0.5)),
    ROW("tv.clip_boxes_to_image(boxes - 1, (4, 6))", decode_boxes(boxes - 1, zeros_like(boxes), {1, 1, 1, 1}, {4, 6})),
    ROW("torch.argmin(x, 1)", sort(x, 1).second.select(1, 0)),
    ROW("torch.argsort(x, 1)", sort(x, 1).second),
    ROW("torch.std(x, 1)", sqrt(var(x, 1))),
    ROW("torch.prod(p, 1)", exp(sum(log(p), 1))),
    ROW("torch.dot(v, v)", sum(v * v)),
    ROW("torch.outer(v, v)", v.unsqueeze(1) * v),
    ROW("torch.isnan(z)", z != z),
    ROW("torch.isinf(z)", abs(z) == INFINITY),
    ROW("torch.where(a, x, 0)", masked_fill(x, ~a, 0)),
    ROW("torch.clamp(x, -p, p)", minimum(maximum(x, -p), p)),
    ROW("torch.remainder(x, 0.5)", x - floor(x / 0.5) * 0.5),
    ROW("torch.floor_divide(k, 2)", floor(k.to(float64) / 2).to(int64)),
    ROW("torch.tan(x)", sin(x) / cos(x)),
    ROW("torch.log1p(p)", softplus(log(p))),
    ROW("torch.lerp(x, y, 0.25)", x + (y - x) * 0.25),
    ROW("torch.tril(x)", where(arange(2).unsqueeze(1) >= arange(3), x, zeros_like(x))),
    ROW("torch.diagonal(x)", masked_select(x, arange(2).unsqueeze(1) == arange(3))),
    ROW("torch.roll(x, 1, 1)", cat({x.slice(1, -1, kEnd), x.slice(1, 0, -1)}, 1)),
    ROW("torch.bincount(i, minlength=3)", index_add(zeros({3}, int64), 0, i, ones_like(i))),
    ROW("torch.scatter_add(torch.zeros(3).double(), 0, i, torch.ones(4).double())", index_add(zeros({3}, float64), 0, i, ones({4}, float64))),
    ROW("torch.einsum(\"bc,bd->cd\", x, y)", matmul(x.transpose(0, 1), y)),
    ROW("F.leaky_relu(x, 0.1)", where(x > 0, x, x * 0.1)),
    ROW("F.normalize(x, dim=1)", x / maximum(norm(x, 2, 1, true), 1e-12)),
    ROW("F.cosine_similarity(x, y, 1)", sum(x * y, 1) / clamp(norm(x, 2, 1) * norm(y, 2, 1), 1e-8, 1e300)),
    ROW("F.nll_loss(F.log_softmax(x, 1), labels)", cross_entropy(x, labels)),
    ROW("F.huber_loss(x, y, delta=0.5)", smooth_l1_loss(x, y, 0.5) * 0.5),
};
// clang-format on

/// The two columns of the page, by the text of the first.
std::map<std::string, std::string> page() {
  std::ifstream in(test::source_dir() + "/atlas/ops/pytorch.md");
  std::map<std::string, std::string> rows;
  for (std::string line; std::getline(in, line);) {
    const size_t middle = line.find("` | `");
    if (line.rfind("| `", 0) != 0 || middle == std::string::npos) continue;
    const std::string torch = line.substr(3, middle - 3),
                      atlas = line.substr(middle + 5, line.rfind("` |") - middle - 5);
    CHECK_MESSAGE(rows.emplace(torch, atlas).second, "twice on the page: " << torch);
  }
  return rows;
}

/// Largest difference, relative for numbers above 1; where both are the same infinity or NaN there is none.
double difference(const Tensor& got, const Tensor& want) {
  if (got.dtype() != want.dtype() || got.shape() != want.shape()) return INFINITY;
  const Tensor wide = got.to(float64), reference = want.to(float64);
  const auto u = to_vector<double>(wide), w = to_vector<double>(reference);
  double worst = 0;
  for (size_t e = 0; e < u.size(); ++e) {
    if (u[e] == w[e] || (std::isnan(u[e]) && std::isnan(w[e]))) continue;
    const double d = std::abs(u[e] - w[e]) / std::max(1.0, std::abs(w[e]));
    worst = d <= worst ? worst : d;
  }
  return worst;
}

}  // namespace

TEST_CASE("each row of the table is on the page and gives PyTorch's result") {
  const auto golden = io::load_safetensors(test::source_dir() + "/tests/ops/pytorch_table.safetensors").tensors;
  const std::pair<const char*, Tensor*> inputs[] = {{"x", &x},           {"y", &y},           {"p", &p},
                                                    {"z", &z},           {"v", &v},           {"k", &k},
                                                    {"i", &i},           {"a", &a},           {"b", &b},
                                                    {"labels", &labels}, {"up", &up},         {"boxes", &boxes},
                                                    {"goals", &goals},   {"scores", &scores}, {"groups", &groups},
                                                    {"rois", &rois},     {"image", &image},   {"filters", &filters}};
  for (const auto& [name, tensor] : inputs) *tensor = golden.at(name).to(default_device());
  std::map<std::string, std::string> left = page();
  CHECK(left.size() == std::size(kRows));
  for (const Row& row : kRows) {
    CAPTURE(row.torch);
    CAPTURE(row.atlas);
    const auto found = left.find(row.torch);
    REQUIRE(found != left.end());
    CHECK(found->second == row.atlas);
    left.erase(found);
    const auto want = golden.find(std::string("= ") + row.torch);
    REQUIRE(want != golden.end());
    CHECK(difference(row.run(), want->second) < 1e-12);
  }
  for (const auto& row : left) CHECK_MESSAGE(false, "only on the page: " << row.first);
  for (const auto& [name, tensor] : inputs) *tensor = Tensor();
}
