#ifndef ERRNO_H
#define ERRNO_H
#define EAGAIN 11
#endif
