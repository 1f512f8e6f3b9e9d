#include <cstdlib>

extern "C" {

void vr1_free(char *message) { std::free(message); }

}
