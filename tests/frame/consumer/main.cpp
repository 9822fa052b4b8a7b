// A whole program on atlas: a matrix product and its sum.
#include <cstdio>

#include "atlas/atlas.h"

int main() {
  const atlas::Tensor a = atlas::ones({2, 3});
  const atlas::Tensor b = atlas::ones({3, 2});
  const float total = atlas::matmul(a, b).sum().item<float>();
  std::printf("%g\n", static_cast<double>(total));
  return total > 11.9F && total < 12.1F ? 0 : 1;  // parents may have -Wfloat-equal
}
