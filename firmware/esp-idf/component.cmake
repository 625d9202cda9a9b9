# The ESP-IDF component: CMakeLists.txt beside include/ and src/ comes here when ESP-IDF reads it.
file(GLOB amp_sources "${CMAKE_CURRENT_LIST_DIR}/../src/*.c")

idf_component_register(
  SRCS ${amp_sources} "esp-idf/amp_esp.c" "esp-idf/amp_esp_mqtt.c"
  INCLUDE_DIRS "include" "esp-idf"
  PRIV_INCLUDE_DIRS "src"
  REQUIRES nvs_flash mqtt
  PRIV_REQUIRES esp_partition freertos log)

if(CONFIG_AMP_XOODYAK)
  target_compile_definitions(${COMPONENT_LIB} PUBLIC AMP_XOODYAK)
endif()
if(CONFIG_AMP_ENGINE_WASM3)
  # Relative to the project; src/core_wasm3.c includes what it needs of it.
  idf_build_get_property(project_dir PROJECT_DIR)
  get_filename_component(amp_wasm3 "${CONFIG_AMP_WASM3_SOURCE}" ABSOLUTE BASE_DIR "${project_dir}")
  if(NOT EXISTS "${amp_wasm3}/wasm3.h")
    message(FATAL_ERROR "${amp_wasm3} does not hold wasm3's sources: see Ampoule in menuconfig")
  endif()
  target_compile_definitions(${COMPONENT_LIB} PUBLIC AMP_WASM3)
  if(CONFIG_AMP_WASM3_FRUGAL)
    target_compile_definitions(${COMPONENT_LIB} PRIVATE AMP_WASM3_FRUGAL)
  endif()
  if(CONFIG_AMP_ASCON_HOSTED)
    target_compile_definitions(${COMPONENT_LIB} PRIVATE AMP_ASCON_HOSTED)
  endif()
  target_include_directories(${COMPONENT_LIB} SYSTEM PRIVATE "${amp_wasm3}")
  # Its operations call the next one as their last act, let signed numbers wrap and read slots as several types.
  target_compile_options(${COMPONENT_LIB} PRIVATE -foptimize-sibling-calls -fwrapv -fno-strict-aliasing)
endif()
