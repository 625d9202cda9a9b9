#ifndef SYS_TYPES_H
#define SYS_TYPES_H
typedef __PTRDIFF_TYPE__ ssize_t;
#endif
