// What most unit tests include, parsed once (CMakeLists.txt).
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/gradcheck.h"
#include "atlas/autograd/node.h"
#include "atlas/core/rng.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "tests/compare.h"
