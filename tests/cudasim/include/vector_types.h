/* tests/cudasim/include/vector_types.h - CUDA's short vectors, in C and C++. */
#ifndef CUDASIM_VECTOR_TYPES_H
#define CUDASIM_VECTOR_TYPES_H

#define CUDASIM_ALIGNED(bytes) __attribute__((aligned(bytes)))

struct CUDASIM_ALIGNED(8) float2 {
    float x, y;
};
struct float3 {
    float x, y, z;
};
struct CUDASIM_ALIGNED(16) float4 {
    float x, y, z, w;
};
struct CUDASIM_ALIGNED(16) double2 {
    double x, y;
};
struct CUDASIM_ALIGNED(8) int2 {
    int x, y;
};
struct CUDASIM_ALIGNED(16) int4 {
    int x, y, z, w;
};
struct CUDASIM_ALIGNED(8) uint2 {
    unsigned x, y;
};
struct uint3 {
    unsigned x, y, z;
};
struct CUDASIM_ALIGNED(16) uint4 {
    unsigned x, y, z, w;
};
struct CUDASIM_ALIGNED(4) ushort2 {
    unsigned short x, y;
};
struct CUDASIM_ALIGNED(8) ushort4 {
    unsigned short x, y, z, w;
};
struct CUDASIM_ALIGNED(4) uchar4 {
    unsigned char x, y, z, w;
};

#ifdef __cplusplus
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned vx = 1, unsigned vy = 1, unsigned vz = 1) : x(vx), y(vy), z(vz)
    {
    }
};
#else
struct dim3 {
    unsigned x, y, z;
};
typedef struct float2 float2;
typedef struct float3 float3;
typedef struct float4 float4;
typedef struct double2 double2;
typedef struct int2 int2;
typedef struct int4 int4;
typedef struct uint2 uint2;
typedef struct uint3 uint3;
typedef struct uint4 uint4;
typedef struct ushort2 ushort2;
typedef struct ushort4 ushort4;
typedef struct uchar4 uchar4;
typedef struct dim3 dim3;
#endif

#endif
