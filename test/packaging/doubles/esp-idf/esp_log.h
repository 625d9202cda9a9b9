#ifndef ESP_LOG_H
#define ESP_LOG_H
/* Checked as printf, so that a format that does not fit is an error here as it is there. */
void double_log(char level, const char *tag, const char *format, ...) __attribute__((format(printf, 3, 4)));
#define ESP_LOGE(tag, ...) double_log('E', tag, __VA_ARGS__)
#define ESP_LOGW(tag, ...) double_log('W', tag, __VA_ARGS__)
#define ESP_LOGI(tag, ...) double_log('I', tag, __VA_ARGS__)
#endif
