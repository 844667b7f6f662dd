/* A simulated libamd_smi.so, driven by the script that FAKE_AMDSMI_SCRIPT names.
 *
 * The functions that are not here are stubs that the test adds; they answer NOT_SUPPORTED (2).
 * One directive a line; the first two are global, the others belong to the last "gpu":
 *   clock FILE       time is the number in FILE (seconds), read at every call
 *   init CODE        amdsmi_init answers CODE
 *   gpu              a new board
 *   bdf D:B:D        PCI address, hexadecimal
 *   serial HEX       16 hexadecimal digits
 *   current N        current_socket_power, W, or a sentinel
 *   average N        average_socket_power, W, or a sentinel
 *   counter W        the energy counter advances by W watts (0: frozen, < 0: back)
 *   reset T          T seconds after the first init the counter starts again at 0
 *   fail T CALL CODE from T seconds after the first init on CALL answers CODE
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK, INVALID = 1, NOT_SUPPORTED = 2, NOT_INIT = 32, MAX_GPUS = 4, MAX_FAILURES = 16 };

typedef struct { double t_s; char call[64]; int code; } Failure;
typedef struct {
    unsigned domain, bus, device, current, average;
    char serial[32];
    double counter_w, reset_s;
    Failure failures[MAX_FAILURES];
    int failure_count;
} Gpu;

static Gpu gpus[MAX_GPUS];
static int gpu_count, init_code, is_up;
static double origin_s;
static char clock_file[1024];

static double now_s(void) {
    double t = 0;
    FILE *f = fopen(clock_file, "r");
    if (!f || fscanf(f, "%lf", &t) != 1) abort();
    fclose(f);
    return t - origin_s;
}

static void load(void) {
    const char *path = getenv("FAKE_AMDSMI_SCRIPT");
    FILE *f = path ? fopen(path, "r") : 0;
    char line[2048];
    if (!f) abort();
    while (fgets(line, sizeof line, f)) {
        Gpu *g = &gpus[gpu_count ? gpu_count - 1 : 0];
        Failure failure;
        if (!strncmp(line, "gpu", 3)) gpus[gpu_count++] = (Gpu){.reset_s = INFINITY};
        else if (sscanf(line, "clock %1023[^\n]", clock_file) == 1) continue;
        else if (sscanf(line, "init %d", &init_code) == 1) continue;
        else if (sscanf(line, "bdf %x:%x:%x", &g->domain, &g->bus, &g->device) == 3) continue;
        else if (sscanf(line, "serial %31s", g->serial) == 1) continue;
        else if (sscanf(line, "current %u", &g->current) == 1) continue;
        else if (sscanf(line, "average %u", &g->average) == 1) continue;
        else if (sscanf(line, "counter %lf", &g->counter_w) == 1) continue;
        else if (sscanf(line, "reset %lf", &g->reset_s) == 1) continue;
        else if (sscanf(line, "fail %lf %63s %d", &failure.t_s, failure.call, &failure.code) == 3)
            g->failures[g->failure_count++] = failure;
        else if (line[0] != '\n') abort();
    }
    fclose(f);
    origin_s = now_s();
}

static int answer(const Gpu *g, const char *call) {
    if (!is_up) return NOT_INIT;
    if (g < gpus || g >= gpus + gpu_count) return INVALID;
    for (int i = 0; i < g->failure_count; i++)
        if (!strcmp(g->failures[i].call, call) && now_s() >= g->failures[i].t_s)
            return g->failures[i].code;
    return OK;
}
#define ASK(g) do { int code_ = answer(g, __func__); if (code_) return code_; } while (0)

int amdsmi_init(uint64_t flags) {
    (void)flags;
    if (!gpu_count && !init_code) load();
    is_up = !init_code;
    return init_code;
}
int amdsmi_shut_down(void) { is_up = 0; return OK; }
int amdsmi_get_socket_handles(uint32_t *count, void **sockets) {
    if (!is_up) return NOT_INIT;
    for (int i = 0; sockets && i < gpu_count; i++) sockets[i] = &gpus[i];
    *count = gpu_count;
    return OK;
}
int amdsmi_get_processor_handles(void *socket, uint32_t *count, void **processors) {
    if (processors) processors[0] = socket;
    *count = 1;
    return OK;
}
int amdsmi_get_gpu_device_bdf(Gpu *g, uint64_t *bdf) {
    ASK(g);
    *bdf = (uint64_t)g->domain << 16 | g->bus << 8 | g->device << 3;
    return OK;
}

#pragma pack(push, 1)
typedef struct {
    char market_name[256];
    uint32_t vendor_id;
    char vendor_name[256];
    uint32_t subvendor_id;
    uint64_t device_id;
    uint32_t rev_id;
    char asic_serial[256];
    uint32_t oam_id, compute_units;
    uint8_t padding[4];
    uint64_t target;
    uint32_t subsystem_id, reserved[21];
} AsicInfo;
typedef struct {
    uint64_t socket_power;
    uint32_t current, average;
    uint64_t gfx_voltage, soc_voltage, mem_voltage;
    uint32_t limit;
    uint8_t padding[4];
    uint64_t reserved[18];
} PowerInfo;
#pragma pack(pop)

int amdsmi_get_gpu_asic_info(Gpu *g, AsicInfo *out) {
    ASK(g);
    memset(out, 0, sizeof *out);
    snprintf(out->market_name, sizeof out->market_name, "Simulated Instinct");
    snprintf(out->asic_serial, sizeof out->asic_serial, "%s", g->serial);
    return OK;
}
int amdsmi_get_power_info(Gpu *g, PowerInfo *out) {
    ASK(g);
    memset(out, 0, sizeof *out);
    out->current = g->current;
    out->average = g->average;
    return OK;
}
int amdsmi_get_energy_count(Gpu *g, uint64_t *ticks, float *resolution_uj, uint64_t *stamp_ns) {
    ASK(g);
    double t = now_s(), joules = t < g->reset_s ? 5e5 + g->counter_w * t : g->counter_w * (t - g->reset_s);
    *resolution_uj = 15.259f;
    *ticks = (uint64_t)(joules / (15.259f * 1e-6));
    *stamp_ns = (uint64_t)(t * 1e9);
    return OK;
}
