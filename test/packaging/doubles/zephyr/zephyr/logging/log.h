#ifndef ZEPHYR_LOG_H
#define ZEPHYR_LOG_H
void double_log(char level, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define LOG_MODULE_REGISTER(name) typedef char double_log_##name
#define LOG_ERR(...) double_log('E', __VA_ARGS__)
#define LOG_WRN(...) double_log('W', __VA_ARGS__)
#define LOG_INF(...) double_log('I', __VA_ARGS__)
#endif
