#ifndef SEMPHR_H
#define SEMPHR_H
#include "FreeRTOS.h"
typedef struct double_semaphore *SemaphoreHandle_t;
typedef struct {
  int taken;
} StaticSemaphore_t;
SemaphoreHandle_t xSemaphoreCreateMutexStatic(StaticSemaphore_t *memory);
BaseType_t xSemaphoreTake(SemaphoreHandle_t mutex, TickType_t ticks);
BaseType_t xSemaphoreGive(SemaphoreHandle_t mutex);
#endif
