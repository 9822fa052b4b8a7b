// The matrix product as a triple loop.
#pragma once

#include <cstdint>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI::cpu::reference {

/// c[i,j] = sum over k of a[i,k] b[k,j].
///
/// Sums are kept in double, here and in all of reference/: what is left of rounding is that of the results.
/// @param a  [rows, depth]   @param b  [depth, columns]   @param c  [rows, columns], overwritten
template <class T>
void matmul(int64_t rows, int64_t columns, int64_t depth, const T* a, const T* b, T* c) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < depth; ++k) sum += static_cast<double>(a[i * depth + k]) * b[k * columns + j];
      c[i * columns + j] = static_cast<T>(sum);
    }
}

/// Each product a[i,k] b[k,j] is a term of c[i,j] alone, so
///   da[i,k] = sum over j of dc[i,j] b[k,j]   (da = dc bᵀ),
///   db[k,j] = sum over i of a[i,k] dc[i,j]   (db = aᵀ dc).
template <class T>
void matmul_backward(int64_t rows, int64_t columns, int64_t depth, const T* a, const T* b, const T* dc, T* da, T* db) {
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t i = 0; i < rows; ++i) {
      double sum = 0;
      for (int64_t j = 0; j < columns; ++j) sum += static_cast<double>(dc[i * columns + j]) * b[k * columns + j];
      da[i * depth + k] = static_cast<T>(sum);
    }
    for (int64_t j = 0; j < columns; ++j) {
      double sum = 0;
      for (int64_t i = 0; i < rows; ++i) sum += static_cast<double>(a[i * depth + k]) * dc[i * columns + j];
      db[k * columns + j] = static_cast<T>(sum);
    }
  }
}

}  // namespace atlas::inline ATLAS_ABI::cpu::reference
