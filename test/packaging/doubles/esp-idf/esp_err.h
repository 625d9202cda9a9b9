/* Declarations of ESP-IDF that the glue uses, in our own words, so that it can be compiled without ESP-IDF. */
#ifndef ESP_ERR_H
#define ESP_ERR_H
#include <stdint.h>
typedef int esp_err_t;
#define ESP_OK 0
#define ESP_FAIL (-1)
const char *esp_err_to_name(esp_err_t code);
void double_abort(esp_err_t code);
#define ESP_ERROR_CHECK(expression)                            \
  do {                                                         \
    const esp_err_t code_ = (expression);                      \
    if (code_ != ESP_OK) double_abort(code_);                  \
  } while (0)
#endif
