/* tests/cudasim/include/math_constants.h - the few constants that kernels use. */
#ifndef CUDASIM_MATH_CONSTANTS_H
#define CUDASIM_MATH_CONSTANTS_H

#define CUDART_INF_F __builtin_inff()
#define CUDART_NAN_F __builtin_nanf("")
#define CUDART_INF __builtin_inf()
#define CUDART_NAN __builtin_nan("")

#endif
