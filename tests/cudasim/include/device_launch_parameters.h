/* tests/cudasim/include/device_launch_parameters.h - all of it is in cuda_runtime.h. */
#ifndef CUDASIM_DEVICE_LAUNCH_PARAMETERS_H
#define CUDASIM_DEVICE_LAUNCH_PARAMETERS_H

#include <cuda_runtime.h>

#endif
