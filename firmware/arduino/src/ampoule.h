/* Arduino looks for headers in src/ only. */
#include "../include/ampoule.h"
