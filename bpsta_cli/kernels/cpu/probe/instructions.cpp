// Which vector instructions this process may use: 2 for those of AVX-512 that the kernels need, 1 for AVX2 with fused
// multiply-add, else 0. It asks the processor and the system, and is compiled for any x86-64.

extern "C" int instructions() {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
               ? 2
               : 1;
}
