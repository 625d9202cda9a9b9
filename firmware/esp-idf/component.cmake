# The ESP-IDF component: CMakeLists.txt beside include/ and src/ comes here when ESP-IDF reads it.
file(GLOB amp_sources "${CMAKE_CURRENT_LIST_DIR}/../src/*.c")

idf_component_register(
  SRCS ${amp_sources} "esp-idf/amp_esp.c" "esp-idf/amp_esp_mqtt.c"
  INCLUDE_DIRS "include" "esp-idf"
  PRIV_INCLUDE_DIRS "src"
  REQUIRES nvs_flash mqtt
  PRIV_REQUIRES esp_partition freertos log)

# Not by REQUIRES: that is read before the configuration is known.
if(CONFIG_AMP_ENGINE_WASM3)
  target_compile_definitions(${COMPONENT_LIB} PUBLIC AMP_WASM3)
  idf_component_optional_requires(PRIVATE wasm3)
endif()
if(CONFIG_AMP_XOODYAK)
  target_compile_definitions(${COMPONENT_LIB} PUBLIC AMP_XOODYAK)
endif()
