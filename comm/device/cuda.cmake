# CUDA: whether there is any in this build, and the libraries that stand for it.
#
#   OFFRAMP_CUDA   AUTO  with CUDA if all of it is there; one line of the configuration says what was
#                        chosen and why
#                  ON    with CUDA, or an error that names the missing piece
#                  OFF   without
#                  SIM   with the simulated device of tests/cudasim instead of a GPU: the .cu files are
#                        compiled by the C++ compiler. No toolkit is needed
#
# The preset release has AUTO: it is what people run. dev, asan, tsan and fuzz have OFF: they are built
# many times a day, their tests run on the CPU, and with CUDA a first configuration costs ten seconds
# (minutes on a cold disk) and each .cu file several more, on machines that may have no GPU at all.
# What is CUDA is tested by the preset gpusim and built strictly by the preset gpu.
#
# Sets OFFRAMP_CUDA_KIND: REAL, SIM or empty. With one of the first two there are the targets
# offramp_cudart, offramp_cublaslt and offramp_nccl, and offramp_cuda_sources() for .cu files.
set(OFFRAMP_CUDA AUTO CACHE STRING "CUDA: AUTO, ON, OFF, or SIM for the simulated device of the tests")
set_property(CACHE OFFRAMP_CUDA PROPERTY STRINGS AUTO ON OFF SIM)

# sm_90 is what asks for the most: nvcc knows it since 11.8.
set(OFFRAMP_CUDA_LEAST 11.8)
# ncclCommInitRankConfig() without blocking, and so with a deadline, since 2.14.
set(OFFRAMP_NCCL_LEAST 2.14)
# Machine code for A100 and H100, and PTX that the driver compiles for later ones.
set(OFFRAMP_CUDA_ARCHITECTURES 80-real 90-real 90-virtual)

set(OFFRAMP_CUDA_KIND "")

# What is missing, in words, in `missing`; empty if nothing is. A macro: languages are enabled and
# packages found where the targets are to be seen.
macro(offramp_look_for_cuda missing)
  set(${missing} "")
  find_program(OFFRAMP_NVCC nvcc
    HINTS ${CMAKE_CUDA_COMPILER} $ENV{CUDACXX} $ENV{CUDA_PATH}/bin $ENV{CUDA_HOME}/bin /usr/local/cuda/bin
    DOC "The CUDA compiler")
  if(NOT OFFRAMP_NVCC)
    set(${missing} "there is no nvcc in PATH, $CUDA_PATH/bin or /usr/local/cuda/bin")
  else()
    offramp_try_nvcc(${missing})
  endif()
  if(NOT ${missing})
    set(CMAKE_CUDA_COMPILER ${OFFRAMP_NVCC})
    set(CMAKE_CUDA_ARCHITECTURES ${OFFRAMP_CUDA_ARCHITECTURES})
    enable_language(CUDA)
    find_package(CUDAToolkit)
    offramp_look_for_libraries(${missing})
  endif()
endmacro()

# nvcc is there: is it new enough, and does it find a C++ compiler that it likes, and the static runtime?
# Asked once a folder; enable_language() would end the configuration with pages.
function(offramp_try_nvcc missing)
  if(OFFRAMP_NVCC_TRIED STREQUAL OFFRAMP_NVCC)
    return()
  endif()
  execute_process(COMMAND ${OFFRAMP_NVCC} --version OUTPUT_VARIABLE text ERROR_VARIABLE text)
  if(NOT text MATCHES "release [0-9.]+, V([0-9.]+)")
    set(${missing} "${OFFRAMP_NVCC} --version says nothing of a release" PARENT_SCOPE)
    return()
  endif()
  if(CMAKE_MATCH_1 VERSION_LESS OFFRAMP_CUDA_LEAST)
    set(${missing} "${OFFRAMP_NVCC} is of release ${CMAKE_MATCH_1}, ${OFFRAMP_CUDA_LEAST} is the first that knows sm_90"
      PARENT_SCOPE)
    return()
  endif()
  set(try ${PROJECT_BINARY_DIR}/CMakeFiles/try_nvcc)
  file(WRITE ${try}.cu "#include <cuda_runtime.h>\n__global__ void f(int *a) { *a = 1; }\nint main() { return cudaGetLastError(); }\n")
  execute_process(COMMAND ${OFFRAMP_NVCC} -arch=sm_80 -cudart static -o ${try} ${try}.cu
    RESULT_VARIABLE code OUTPUT_VARIABLE text ERROR_VARIABLE text)
  if(NOT code EQUAL 0)
    string(REGEX REPLACE "[ \n]+" " " text "${text}")
    string(SUBSTRING "${text}" 0 300 text)
    if(text MATCHES "cudart_static")
      set(${missing} "${OFFRAMP_NVCC} does not find libcudart_static.a (package cuda-cudart-dev)" PARENT_SCOPE)
    else()
      set(${missing} "${OFFRAMP_NVCC} compiles nothing (it needs a g++ that it knows: CUDAHOSTCXX): ${text}"
        PARENT_SCOPE)
    endif()
    return()
  endif()
  set(OFFRAMP_NVCC_TRIED ${OFFRAMP_NVCC} CACHE INTERNAL "An nvcc that works")
endfunction()

# Debian and NVIDIA put headers and libraries in /usr, the toolkit in its own folder; NCCL may have one
# of its own, too.
function(offramp_look_for_libraries missing)
  if(NOT TARGET CUDA::cudart_static)
    set(${missing} "libcudart_static.a is not in ${CUDAToolkit_LIBRARY_DIR} (package cuda-cudart-dev)" PARENT_SCOPE)
    return()
  endif()
  find_path(OFFRAMP_CUBLASLT_INCLUDE cublasLt.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
  if(NOT TARGET CUDA::cublasLt OR NOT OFFRAMP_CUBLASLT_INCLUDE)
    set(${missing} "cublasLt.h and libcublasLt are not beside the toolkit (package libcublas-dev)" PARENT_SCOPE)
    return()
  endif()
  set(hints ${NCCL_ROOT} $ENV{NCCL_ROOT} $ENV{NCCL_HOME})
  find_path(OFFRAMP_NCCL_INCLUDE nccl.h HINTS ${hints} ${CUDAToolkit_INCLUDE_DIRS} PATH_SUFFIXES include)
  find_library(OFFRAMP_NCCL nccl HINTS ${hints} ${CUDAToolkit_LIBRARY_DIR} PATH_SUFFIXES lib lib64)
  if(NOT OFFRAMP_NCCL_INCLUDE OR NOT OFFRAMP_NCCL)
    set(${missing} "nccl.h and libnccl are not there (package libnccl-dev, or NCCL_ROOT)" PARENT_SCOPE)
    return()
  endif()
  file(STRINGS ${OFFRAMP_NCCL_INCLUDE}/nccl.h lines REGEX "^#define NCCL_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE "[^0-9;]" "" lines "${lines}")
  string(REPLACE ";" "." version "${lines}")
  if(version VERSION_LESS OFFRAMP_NCCL_LEAST)
    set(${missing} "${OFFRAMP_NCCL_INCLUDE}/nccl.h is of NCCL ${version}, ${OFFRAMP_NCCL_LEAST} or later is needed"
      PARENT_SCOPE)
    return()
  endif()
  set(OFFRAMP_NCCL_VERSION ${version} PARENT_SCOPE)
endfunction()

function(offramp_add_cuda_targets)
  add_library(offramp_cudart INTERFACE)
  add_library(offramp_cublaslt INTERFACE)
  add_library(offramp_nccl INTERFACE)
  if(OFFRAMP_CUDA_KIND STREQUAL SIM)
    foreach(target offramp_cudart offramp_cublaslt offramp_nccl)
      target_link_libraries(${target} INTERFACE cudasim)
    endforeach()
    return()
  endif()
  # The runtime is linked in, and nothing is linked to the driver (libcuda): so the program starts where
  # there is none.
  target_link_libraries(offramp_cudart INTERFACE CUDA::cudart_static)
  target_include_directories(offramp_cudart SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS})
  target_link_libraries(offramp_cublaslt INTERFACE CUDA::cublasLt offramp_cudart)
  target_link_libraries(offramp_nccl INTERFACE ${OFFRAMP_NCCL} offramp_cudart)
  target_include_directories(offramp_nccl SYSTEM INTERFACE ${OFFRAMP_NCCL_INCLUDE})
endfunction()

# offramp_cuda_sources(TARGET FILES...): adds .cu files to a module.
function(offramp_cuda_sources target)
  target_sources(${target} PRIVATE ${ARGN})
  target_link_libraries(${target} PRIVATE offramp_cudart)
  if(OFFRAMP_CUDA_KIND STREQUAL SIM)
    set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-x;c++;-Wno-unknown-pragmas")
  endif()
endfunction()

if(OFFRAMP_CUDA STREQUAL "SIM")
  enable_language(CXX)
  set(CMAKE_CXX_STANDARD 17)
  set(CMAKE_CXX_STANDARD_REQUIRED ON)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_C_COMPILER_LAUNCHER})
  set(CMAKE_CXX_FLAGS_DEBUG ${CMAKE_C_FLAGS_DEBUG})
  set(OFFRAMP_CUDA_KIND SIM)
  message(STATUS "CUDA: simulated, by tests/cudasim")
elseif(OFFRAMP_CUDA STREQUAL "AUTO" OR OFFRAMP_CUDA)
  offramp_look_for_cuda(OFFRAMP_CUDA_MISSING)
  if(OFFRAMP_CUDA_MISSING AND OFFRAMP_CUDA STREQUAL "AUTO")
    message(STATUS "CUDA: no, this will be a program for the CPU: ${OFFRAMP_CUDA_MISSING}")
  elseif(OFFRAMP_CUDA_MISSING)
    message(FATAL_ERROR "OFFRAMP_CUDA is ${OFFRAMP_CUDA}, but ${OFFRAMP_CUDA_MISSING}")
  else()
    set(OFFRAMP_CUDA_KIND REAL)
    set(CMAKE_CUDA_STANDARD 17)
    set(CMAKE_CUDA_STANDARD_REQUIRED ON)
    set(CMAKE_CUDA_FLAGS_DEBUG ${CMAKE_C_FLAGS_DEBUG})
    set(CMAKE_CUDA_FLAGS_RELWITHDEBINFO ${CMAKE_C_FLAGS_RELWITHDEBINFO})
    message(STATUS "CUDA: yes, ${OFFRAMP_NVCC} ${CMAKE_CUDA_COMPILER_VERSION}, NCCL ${OFFRAMP_NCCL_VERSION}, for ${OFFRAMP_CUDA_ARCHITECTURES}")
  endif()
else()
  message(STATUS "CUDA: no, OFFRAMP_CUDA is ${OFFRAMP_CUDA}")
endif()
if(OFFRAMP_CUDA_KIND)
  offramp_add_cuda_targets()
endif()
