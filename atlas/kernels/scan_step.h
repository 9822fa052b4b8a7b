// One step of the selective scan for one of its states, shared by the CPU and CUDA.
#pragma once

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI {

/// h_t = exp(dt A) h_{t-1} + dt u B, with decay = exp(dt A) and drive = dt u.
template <class T>
ATLAS_HOST_DEVICE inline T scan_advance_state(T decay, T h, T drive, T b) {
  return decay * h + drive * b;
}

/// The same step back. With g = dL/dh_t = carry + dy C:  dC += dy h_t,  dB += g dt u;  the exponent dt A gets
/// s = g exp(dt A) h_{t-1}, so dA += s dt and from_exponent += s A (towards dt);  from_drive += g B is what dt u gets;
/// and exp(dt A) g is carried to step t - 1.
template <class T>
ATLAS_HOST_DEVICE inline void scan_state_backward(T h_before, T h_after, T decay, T a, T b, T c, T dt, T drive, T dy,
                                                  T& carry, T& da, T& db, T& dc, T& from_exponent, T& from_drive) {
  const T g = carry + dy * c, back = g * decay, s = back * h_before;
  dc += dy * h_after;
  db += g * drive;
  da += s * dt;
  from_exponent += s * a;
  from_drive += g * b;
  carry = back;
}

}  // namespace atlas::inline ATLAS_ABI
