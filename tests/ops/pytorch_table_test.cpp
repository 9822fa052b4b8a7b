// Rows of the table in atlas/ops/pytorch.md: each is on that page, compiled here, and gives PyTorch's result, which
// tools/reference/make_pytorch_table.py has computed from the same page. A row that stands in one place alone fails.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "atlas/atlas.h"
#include "atlas/io/safetensors.h"
#include "tests/source_dir.h"

using namespace atlas;

namespace {

Tensor x, y, p, z, v, k, i, labels, a, b, image, filters, up, boxes, goals, scores, groups, rois, q, sequence, taps;
std::string path;  // of a file to write

struct Row {
  const char* torch;
  const char* atlas;
  Tensor (*run)();
};
#define ROW(torch, ...)                                     \
  {                                                         \
    torch, #__VA_ARGS__, [] { return Tensor(__VA_ARGS__); } \
  }
// Several statements, the last one with `return`, which the page leaves out.
#define STEPS(torch, ...)                               \
  {                                                     \
    torch, #__VA_ARGS__, []() -> Tensor { __VA_ARGS__ } \
  }

// clang-format off
const Row kRows[] = {
    ROW("torch.zeros(2, 3)", zeros({2, 3})),
    ROW("torch.ones(2, 3, dtype=torch.int64)", ones({2, 3}, int64)),
    ROW("torch.full((2, 3), 1.5)", full({2, 3}, 1.5)),
    ROW("torch.zeros_like(k)", zeros_like(k)),
    ROW("torch.full_like(x, 7)", full_like(x, 7)),
    ROW("torch.eye(3)", eye(3)),
    ROW("torch.arange(5)", arange(5)),
    ROW("torch.arange(1, 7, 2)", arange(1, 7, 2)),
    ROW("torch.arange(0, 1, 0.25)", arange(0, 1, 0.25)),
    ROW("torch.linspace(0, 1, 5)", linspace(0, 1, 5)),
    ROW("torch.tensor(2.5)", full({}, 2.5)),
    ROW("torch.tensor([1.0, 2.0, 3.0])", from_vector<float>({1, 2, 3})),
    ROW("torch.tensor([[1, 2], [3, 4]])", from_vector<int64_t>({1, 2, 3, 4}, {2, 2})),
    ROW("torch.isfinite(torch.randn(2, 3))", isfinite(randn({2, 3}))),
    ROW("torch.rand(2, 3) < 1", rand({2, 3}) < 1),
    STEPS("torch.manual_seed(7); t = torch.rand(3); torch.manual_seed(7); t == torch.rand(3)", manual_seed(7); Tensor t = rand({3}); manual_seed(7); return t == rand({3});),
    ROW("x.clone()", x.clone()),
    ROW("x.float()", x.to(float32)),
    ROW("x.to(torch.bfloat16).double()", x.to(bfloat16).to(float64)),
    ROW("x.to(torch.int64)", x.to(int64)),
    ROW("k.bool()", k.to(boolean)),
    ROW("x.to(\"cpu\")", x.to(Device{})),
    ROW("torch.sum(x).item() * v", sum(x).item() * v),
    STEPS("torch.save({\"x\": x}, path); torch.load(path)[\"x\"]", io::save_safetensors(path, {{"x", x}}); return io::load_safetensors(path).tensors.at("x");),
    STEPS("w = x.clone().requires_grad_(); torch.sum(w * y).backward(); w.grad", Tensor w = x.clone().set_requires_grad(); sum(w * y).backward(); return w.grad();),
    STEPS("w = x.clone().requires_grad_(); (w ** 2).backward(y); w.grad", Tensor w = x.clone().set_requires_grad(); pow(w, 2).backward(y); return w.grad();),
    STEPS("w = x.clone().requires_grad_(); torch.autograd.grad(torch.sum(w ** 3), w)[0]", Tensor w = x.clone().set_requires_grad(); return grad({sum(pow(w, 3))}, {w})[0];),
    STEPS("w = x.clone().requires_grad_(); torch.sum(w.detach() * w).backward(); w.grad", Tensor w = x.clone().set_requires_grad(); sum(w.detach() * w).backward(); return w.grad();),
    STEPS("w = x.clone().requires_grad_(); torch.sum(w).backward(); w.grad = None; torch.sum(w * y).backward(); w.grad", Tensor w = x.clone().set_requires_grad(); sum(w).backward(); w.zero_grad(); sum(w * y).backward(); return w.grad();),
    STEPS("w = x.clone().requires_grad_(); with torch.no_grad(): w -= 0.1 * y; w.detach()", Tensor w = x.clone().set_requires_grad(); { const NoGrad off; w -= 0.1 * y; } return w.detach();),
    STEPS("t = x.clone(); t += y; t *= 2; t", Tensor t = x.clone(); t += y; t *= 2; return t;),
    STEPS("t = k.clone(); t -= 1; t", Tensor t = k.clone(); t -= 1; return t;),
    STEPS("t = a.clone(); t &= b; t ^= a; t", Tensor t = a.clone(); t &= b; t ^= a; return t;),
    STEPS("t = x.clone(); t.copy_(y); t.add_(x, alpha=2); t.mul_(3); t", Tensor t = x.clone(); t.copy_(y); t.add_(x, 2); t.mul_(3); return t;),
    STEPS("t = x.clone(); t.zero_(); t", Tensor t = x.clone(); t.zero_(); return t;),
    STEPS("t = x.clone(); t[0] = y[1]; t[1, 2] = 5; t", Tensor t = x.clone(); t[0] = y[1]; t[1][2] = 5; return t;),
    STEPS("t = x.clone(); t[:, 1:] = 0; t", Tensor t = x.clone(); t.slice(1, 1, kEnd) = 0; return t;),
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
    ROW("torch.max(x, y) - torch.min(x, y)", max(x, y) - min(x, y)),
    ROW("torch.rsqrt(p) + torch.square(x)", rsqrt(p) + square(x)),
    ROW("F.relu(x) + F.gelu(x) + F.silu(x) + F.softplus(x)", relu(x) + gelu(x) + silu(x) + softplus(x)),
    ROW("torch.sigmoid(x)", sigmoid(x)),
    ROW("torch.tanh(x)", tanh(x)),
    ROW("torch.erf(x)", erf(x)),
    ROW("F.gelu(x, approximate=\"tanh\")", gelu_tanh(x)),
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
    ROW("torch.cat([x, y])", cat({x, y})),
    ROW("torch.stack([x, y], 1)", stack({x, y}, 1)),
    ROW("torch.chunk(x, 2)[1]", chunk(x, 2)[1]),
    ROW("torch.split(x, [1, 2], 1)[1]", split(x, {1, 2}, 1)[1]),
    ROW("torch.split(x, 2, 1)[1]", split(x, 2, 1)[1]),
    ROW("F.pad(x, (1, 2))", pad(x, {0, 1}, {0, 2})),
    ROW("F.pad(x, (1, 0, 0, 2), value=7)", pad(x, {0, 1}, {2, 0}, 7)),
    ROW("v.expand(2, 3)", v.expand({2, 3})),
    ROW("torch.repeat_interleave(x, 2, 1)", repeat_interleave(x, 2, 1)),
    ROW("x.transpose(0, 1).contiguous()", x.transpose(0, 1).contiguous()),
    ROW("x.unsqueeze(1).squeeze(1)", x.unsqueeze(1).squeeze(1)),
    ROW("x.flatten()", x.flatten()),
    ROW("x[:, 0]", x.select(1, 0)),
    ROW("x[:, ::2]", x.slice(1, 0, kEnd, 2)),
    ROW("x.unfold(1, 2, 1)", unfold(x, 1, 2, 1)),
    ROW("x @ y.T", matmul(x, y.transpose(0, 1))),
    ROW("F.linear(x, y, v[:2])", linear(x, y, v.slice(0, 0, 2))),
    ROW("F.layer_norm(x, (3,), v, v)", layer_norm(x, v, v)),
    ROW("F.batch_norm(image, None, None, v, v, training=True)", batch_norm(image, v, v, {}, {}, true)),
    ROW("F.batch_norm(image, v, p[0], p[1], v)", batch_norm(image, p[1], v, v, p[0], false)),
    ROW("F.dropout(x, 0.5, training=False)", dropout(x, 0.5, false)),
    ROW("F.scaled_dot_product_attention(q, q * 2, -q).transpose(1, 2).flatten(2)", attention(q, q * 2, -q).flatten(2)),
    ROW("F.scaled_dot_product_attention(q, q, -q, attn_mask=(torch.arange(4) < 3).expand(4, 4)).transpose(1, 2).flatten(2)", attention(q, {{q, -q, arange(4).unsqueeze(0) >= 3}}).flatten(2)),
    ROW("F.conv1d(sequence, taps[:3, :1], padding=1, groups=3).transpose(1, 2)", conv1d_depthwise(sequence, taps.slice(0, 0, 3).select(2, 0).transpose(0, 1))),
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
    ROW("F.interpolate(image, (7, 9))", resize(image, 7, 9, Interpolation::nearest)),
    ROW("F.interpolate(image, (7, 9), mode=\"bilinear\")", resize(image, 7, 9, Interpolation::bilinear)),
    ROW("F.interpolate(image, (7, 9), mode=\"bilinear\", align_corners=True)", resize(image, 7, 9, Interpolation::bilinear, false, true)),
    ROW("F.max_pool2d(image, 2)", max_pool2d(image, 2)),
    ROW("F.max_pool2d(image, 3, stride=2, padding=1)", max_pool2d(image, 3, 2, 1)),
    ROW("F.avg_pool2d(image, 2)", avg_pool2d(image, 2)),
    ROW("F.adaptive_avg_pool2d(image, 1)", adaptive_avg_pool2d(image, 1, 1)),
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
    ROW("a * 2", a.to(int64) * 2),
    ROW("k / 2", k.to(float32) / 2),
    ROW("x.T", x.transpose(0, 1)),
    ROW("x.view(3, 2)", x.reshape({3, 2})),
    ROW("x.repeat(2, 1)", cat({x, x})),
    ROW("x[a]", masked_select(x, a)),
    STEPS("t = x.clone(); t[a] = 7; t", Tensor t = masked_fill(x, a, 7); return t;),
    ROW("x[:, i]", index_select(x, 1, i)),
    ROW("torch.max(x, 1).indices", argmax(x, 1)),
    ROW("torch.argmax(x)", argmax(x.flatten())),
    ROW("torch.randint(4, 5, (2, 3))", floor(uniform({2, 3}, 4, 5)).to(int64)),
    STEPS("torch.sort(torch.randperm(5)).values", Tensor order = sort(rand({5})).second; return sort(order).first;),
    STEPS("F.conv1d(sequence, taps, padding=1).transpose(1, 2)", Tensor t = conv2d(sequence.unsqueeze(1), taps.unsqueeze(1), {}, {.padding = {0, 1}}); return t.squeeze(1);),
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

/// What the page says in the place of a row's text.
std::string as_on_page(std::string text) {
  const size_t last = text.find("return ");
  return last == std::string::npos ? text : text.erase(last, 7).erase(text.size() - 1);
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
  const std::pair<const char*, Tensor*> inputs[] = {{"x", &x},           {"y", &y},
                                                    {"p", &p},           {"z", &z},
                                                    {"v", &v},           {"k", &k},
                                                    {"i", &i},           {"a", &a},
                                                    {"b", &b},           {"labels", &labels},
                                                    {"up", &up},         {"boxes", &boxes},
                                                    {"goals", &goals},   {"scores", &scores},
                                                    {"groups", &groups}, {"rois", &rois},
                                                    {"image", &image},   {"filters", &filters},
                                                    {"q", &q},           {"sequence", &sequence},
                                                    {"taps", &taps}};
  for (const auto& [name, tensor] : inputs) *tensor = golden.at(name).to(default_device());
  path = (std::filesystem::temp_directory_path() / ("atlas-table-" + std::to_string(::getpid()))).string();
  std::map<std::string, std::string> left = page();
  CHECK(left.size() == std::size(kRows));
  for (const Row& row : kRows) {
    CAPTURE(row.torch);
    CAPTURE(row.atlas);
    const auto found = left.find(row.torch);
    REQUIRE(found != left.end());
    CHECK(found->second == as_on_page(row.atlas));
    left.erase(found);
    const auto want = golden.find(std::string("= ") + row.torch);
    REQUIRE(want != golden.end());
    CHECK(difference(row.run(), want->second) < 1e-12);
  }
  for (const auto& row : left) CHECK_MESSAGE(false, "only on the page: " << row.first);
  for (const auto& [name, tensor] : inputs) *tensor = Tensor();
  std::filesystem::remove(path);
}
