{
  "variables": {
    "source": "<!(node -e \"import('./index.js').catch(() => import('./index.ts')).then((m) => console.log(m.wasm3Source()))\")"
  },
  "target_defaults": {
    "sources": ["addon.c", "interpreter.c"],
    "include_dirs": ["<(source)"],
    "defines": ["NAPI_VERSION=8"],
    "cflags": ["-O3", "-w", "-fvisibility=hidden", "-fwrapv", "-fno-strict-aliasing"],
    "xcode_settings": { "GCC_OPTIMIZATION_LEVEL": "3", "GCC_SYMBOLS_PRIVATE_EXTERN": "YES", "OTHER_CFLAGS": ["-fwrapv", "-fno-strict-aliasing"] }
  },
  "targets": [
    { "target_name": "wasm3" },
    { "target_name": "wasm3_counting", "defines": ["WASM3_COUNTING"] }
  ]
}
