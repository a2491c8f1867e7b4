/* tests/cudasim/include/device_functions.h - all of it is in cuda_runtime.h. */
#ifndef CUDASIM_DEVICE_FUNCTIONS_H
#define CUDASIM_DEVICE_FUNCTIONS_H

#include <cuda_runtime.h>

#endif
