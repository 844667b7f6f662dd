/* A simulated libnvidia-ml.so.1, driven by the script that FAKE_NVML_SCRIPT names.
 *
 * One directive a line; '#' starts a comment. Before the first "gpu" they are global:
 *   origin S          time 0 of the traces, on CLOCK_MONOTONIC (Python's perf_counter on Linux);
 *                     without it time 0 is the first nvmlInit
 *   clock FILE        time is the number in FILE (seconds), read at every call
 *   init CODE         nvmlInit answers CODE
 * and after it they belong to that board:
 *   gpu               a new board
 *   uuid TEXT, pci DOMAIN:BUS:DEVICE (hexadecimal), name TEXT
 *   tick_ms N         period at which counter and power are refreshed (100)
 *   window_ms N       averaging window of instantaneous power (25)
 *   average_ms N      averaging window of nvmlDeviceGetPowerUsage (1000)
 *   counter_mj N      the counter at time 0
 *   power T W         from T seconds on the board draws W watts; rising T
 *   response_ms N     power goes towards each level exponentially, with this time constant (0)
 *   unsupported CALL  CALL answers NOT_SUPPORTED (3)
 *   fail T CALL CODE  from T seconds on CALL answers CODE; -1: it never returns
 *   reset T           at T seconds the counter starts again at 0
 *   memory TOTAL RESERVED USED   bytes
 *   limit_mw N        limit in force, and the default and highest one; the lowest is a quarter
 *   limits FILE       the board's limit outlives a process: FILE gains a line "T N" for each change
 *                     to N milliwatts; the board never draws more than the limit of the moment
 *   pcie GEN WIDTH    the link in force
 *   arch N, utilization N, temperature N, sm_mhz N, memory_mhz N, throttle MASK,
 *   display 0|1       a screen is drawn;  monitor 0|1  one is plugged in;  mig 0|1
 *   process KIND PID  KIND is c (compute) or g (graphics); PID "self" is this process
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { NEVER = -1, OK, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, UNKNOWN = 999 };
enum { MAX_GPUS = 8, MAX_ITEMS = 8192 };

typedef struct { double t_s, value; } Step;
typedef struct { double t_s; char call[64]; int code; } Failure;
typedef struct { char kind; unsigned pid; } Process;

typedef struct {
    char uuid[96], name[96], limits_file[1024];
    unsigned domain, bus, device;
    double tick_s, window_s, average_s, counter_j, reset_s, response_s;
    Step power[MAX_ITEMS], limits[MAX_ITEMS];
    Failure failures[MAX_ITEMS];
    Process processes[MAX_ITEMS];
    int power_count, limit_count, failure_count, process_count, mig;
    unsigned long long total, reserved, used, throttle;
    unsigned limit_mw, default_mw, temperature, sm_mhz, memory_mhz, display, monitor, arch, utilization, zero;
    unsigned pcie_gen, pcie_width;
} Gpu;

static Gpu gpus[MAX_GPUS];
static int gpu_count, init_count, init_code;
static double origin_s = -1;
static char clock_file[1024];

int fake_nvml_init_count(void) { return init_count; }

static double now_s(void) {
    if (clock_file[0]) {
        double t = 0;
        FILE *f = fopen(clock_file, "r");
        if (!f || fscanf(f, "%lf", &t) != 1) abort();
        fclose(f);
        return t;
    }
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec + ts.tv_nsec * 1e-9 - (origin_s < 0 ? 0 : origin_s);
}

static void fail_at(Gpu *g, double t_s, const char *call, int code) {
    Failure *f = &g->failures[g->failure_count++];
    f->t_s = t_s;
    f->code = code;
    snprintf(f->call, sizeof f->call, "%s", call);
}

static void parse_gpu(Gpu *g, const char *key, char *rest) {
    double t, value;
    char word[64];
    int code;
    if (!strcmp(key, "uuid")) snprintf(g->uuid, sizeof g->uuid, "%s", rest);
    else if (!strcmp(key, "name")) snprintf(g->name, sizeof g->name, "%s", rest);
    else if (!strcmp(key, "pci")) sscanf(rest, "%x:%x:%x", &g->domain, &g->bus, &g->device);
    else if (!strcmp(key, "tick_ms")) g->tick_s = atof(rest) / 1e3;
    else if (!strcmp(key, "window_ms")) g->window_s = atof(rest) / 1e3;
    else if (!strcmp(key, "average_ms")) g->average_s = atof(rest) / 1e3;
    else if (!strcmp(key, "response_ms")) g->response_s = atof(rest) / 1e3;
    else if (!strcmp(key, "counter_mj")) g->counter_j = atof(rest) / 1e3;
    else if (!strcmp(key, "power") && sscanf(rest, "%lf %lf", &t, &value) == 2)
        g->power[g->power_count++] = (Step){t, value};
    else if (!strcmp(key, "unsupported")) fail_at(g, -1e300, rest, NOT_SUPPORTED);
    else if (!strcmp(key, "fail") && sscanf(rest, "%lf %63s %d", &t, word, &code) == 3)
        fail_at(g, t, word, code);
    else if (!strcmp(key, "reset")) g->reset_s = atof(rest);
    else if (!strcmp(key, "memory")) sscanf(rest, "%llu %llu %llu", &g->total, &g->reserved, &g->used);
    else if (!strcmp(key, "limit_mw")) g->limit_mw = g->default_mw = strtoul(rest, 0, 0);
    else if (!strcmp(key, "limits")) snprintf(g->limits_file, sizeof g->limits_file, "%s", rest);
    else if (!strcmp(key, "arch")) g->arch = strtoul(rest, 0, 0);
    else if (!strcmp(key, "utilization")) g->utilization = strtoul(rest, 0, 0);
    else if (!strcmp(key, "temperature")) g->temperature = strtoul(rest, 0, 0);
    else if (!strcmp(key, "sm_mhz")) g->sm_mhz = strtoul(rest, 0, 0);
    else if (!strcmp(key, "memory_mhz")) g->memory_mhz = strtoul(rest, 0, 0);
    else if (!strcmp(key, "throttle")) g->throttle = strtoull(rest, 0, 0);
    else if (!strcmp(key, "display")) g->display = strtoul(rest, 0, 0);
    else if (!strcmp(key, "monitor")) g->monitor = strtoul(rest, 0, 0);
    else if (!strcmp(key, "pcie")) sscanf(rest, "%u %u", &g->pcie_gen, &g->pcie_width);
    else if (!strcmp(key, "mig")) g->mig = atoi(rest);
    else if (!strcmp(key, "process") && sscanf(rest, "%c %63s", &word[0], word + 1) == 2)
        g->processes[g->process_count++] = (Process){
            word[0], strcmp(word + 1, "self") ? (unsigned)atoi(word + 1) : (unsigned)getpid()};
    else { fprintf(stderr, "fake nvml: bad directive %s %s\n", key, rest); abort(); }
}

static void load(void) {
    const char *path = getenv("FAKE_NVML_SCRIPT");
    FILE *f = path ? fopen(path, "r") : 0;
    char line[2048], key[64];
    if (!f) { fprintf(stderr, "fake nvml: no script\n"); abort(); }
    while (fgets(line, sizeof line, f)) {
        int used = 0;
        line[strcspn(line, "#\r\n")] = 0;
        if (sscanf(line, "%63s %n", key, &used) != 1) continue;
        char *rest = line + used;
        if (!strcmp(key, "origin")) origin_s = atof(rest);
        else if (!strcmp(key, "clock")) snprintf(clock_file, sizeof clock_file, "%s", rest);
        else if (!strcmp(key, "init")) init_code = atoi(rest);
        else if (!strcmp(key, "gpu"))
            gpus[gpu_count++] = (Gpu){.tick_s = 0.1, .window_s = 0.025, .average_s = 1, .reset_s = 1e300};
        else parse_gpu(&gpus[gpu_count - 1], key, rest);
    }
    fclose(f);
    if (origin_s < 0 && !clock_file[0]) origin_s = now_s();
}

/* The limits that any process has set so far; the board begins with limit_mw. */
static void refresh_limits(Gpu *g) {
    Step step;
    FILE *f = g->limits_file[0] ? fopen(g->limits_file, "r") : 0;
    g->limit_count = 0;
    while (f && g->limit_count < MAX_ITEMS && fscanf(f, "%lf %lf", &step.t_s, &step.value) == 2) {
        g->limits[g->limit_count++] = step;
        g->limit_mw = (unsigned)step.value;
    }
    if (f) fclose(f);
}

/* Joules of a stretch of constant demand under the limits of its moments. */
static double limited_j(const Gpu *g, double demand_w, double a, double b) {
    double sum = 0, limit_w = g->default_mw / 1e3;
    for (int i = 0; i <= g->limit_count; i++) {
        double to = i < g->limit_count && g->limits[i].t_s < b ? g->limits[i].t_s : b;
        if (to > a) {
            sum += (demand_w < limit_w ? demand_w : limit_w) * (to - a);
            a = to;
        }
        if (i < g->limit_count) limit_w = g->limits[i].value / 1e3;
    }
    return sum;
}

/* Seconds that a step of power has brought at its full height, so long after it was made. */
static double risen_s(const Gpu *g, double since_s) {
    return since_s <= 0 ? 0 : since_s + g->response_s * expm1(-since_s / g->response_s);
}

/* Joules drawn between times a and b, exactly; a response does not know limits of others. */
static double energy_j(const Gpu *g, double a, double b) {
    double sum = 0;
    if (g->response_s > 0) {
        for (int i = 0; i < g->power_count; i++) {
            double at_s = g->power[i].t_s;
            if (!i) sum += g->power[0].value * (b - a);
            else sum += (g->power[i].value - g->power[i - 1].value) * (risen_s(g, b - at_s) - risen_s(g, a - at_s));
        }
        return sum;
    }
    for (int i = 0; i < g->power_count; i++) {
        double from = i ? g->power[i].t_s : a, watts = g->power[i].value;
        double to = i + 1 < g->power_count ? g->power[i + 1].t_s : b;
        if (from < a) from = a;
        if (to > b) to = b;
        if (to > from)
            sum += g->limit_count ? limited_j(g, watts, from, to) : watts * (to - from);
    }
    return sum;
}

static double last_tick_s(const Gpu *g) {
    double t = now_s();
    return (double)(long long)(t / g->tick_s + 1e-9) * g->tick_s;
}

static double mean_power_w(const Gpu *g, double window_s) {
    double t = last_tick_s(g);
    return energy_j(g, t - window_s, t) / window_s;
}

static int answer(Gpu *g, const char *call) {
    if (!init_count) return UNINITIALIZED;
    if (g < gpus || g >= gpus + gpu_count) return INVALID;
    if (g->limits_file[0]) refresh_limits(g);
    for (int i = 0; i < g->failure_count; i++)
        if (!strcmp(g->failures[i].call, call) && now_s() >= g->failures[i].t_s) {
            while (g->failures[i].code == NEVER) pause();
            return g->failures[i].code;
        }
    return OK;
}

#define ASK(g) do { int code_ = answer(g, __func__); if (code_) return code_; } while (0)

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    if (!gpu_count && !init_code) load();
    if (init_code) return init_code;
    init_count++;
    return OK;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return init_count > 0 ? (init_count--, OK) : UNINITIALIZED; }
const char *nvmlErrorString(int code) { return code == OK ? "Success" : "Simulated Error"; }

static int text(const char *value, char *out, unsigned size) {
    return (unsigned)snprintf(out, size, "%s", value) < size ? OK : TOO_SMALL;
}
int nvmlSystemGetDriverVersion(char *out, unsigned size) { return text("999.99", out, size); }
int nvmlSystemGetNVMLVersion(char *out, unsigned size) { return text("13.999.99", out, size); }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = gpu_count; return init_count ? OK : UNINITIALIZED; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, Gpu **out) {
    if ((int)i >= gpu_count) return INVALID;
    ASK(&gpus[i]);
    *out = &gpus[i];
    return OK;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, Gpu **out) {
    for (int i = 0; i < gpu_count; i++)
        if (!strcmp(gpus[i].uuid, uuid)) { *out = &gpus[i]; return OK; }
    return NOT_FOUND;
}
int nvmlDeviceGetUUID(Gpu *g, char *out, unsigned size) { ASK(g); return text(g->uuid, out, size); }
int nvmlDeviceGetName(Gpu *g, char *out, unsigned size) { ASK(g); return text(g->name, out, size); }

typedef struct {
    char legacy[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
} PciInfo;
int nvmlDeviceGetPciInfo_v3(Gpu *g, PciInfo *out) {
    ASK(g);
    memset(out, 0, sizeof *out);
    out->domain = g->domain;
    out->bus = g->bus;
    out->device = g->device;
    snprintf(out->bus_id, sizeof out->bus_id, "%08X:%02X:%02X.0", g->domain, g->bus, g->device);
    return OK;
}

int nvmlDeviceGetTotalEnergyConsumption(Gpu *g, unsigned long long *mj) {
    ASK(g);
    double t = last_tick_s(g);
    int is_reset = t >= g->reset_s;
    *mj = (unsigned long long)(1e3 * ((is_reset ? 0 : g->counter_j) + energy_j(g, is_reset ? g->reset_s : 0, t)) + 0.5);
    return OK;
}
int nvmlDeviceGetPowerUsage(Gpu *g, unsigned *mw) {
    ASK(g);
    *mw = (unsigned)(1e3 * mean_power_w(g, g->average_s) + 0.5);
    return OK;
}

typedef struct {
    uint32_t field, scope;
    int64_t timestamp, latency;
    uint32_t type, code;
    union { double d; unsigned ui; unsigned long long ull; } value;
} FieldValue;
int nvmlDeviceGetFieldValues(Gpu *g, int count, FieldValue *values) {
    ASK(g);
    for (int i = 0; i < count; i++) {
        char call[64];
        snprintf(call, sizeof call, "field%u", values[i].field);
        values[i].type = 1;
        values[i].code = values[i].field == 186 ? answer(g, call) : NOT_SUPPORTED;
        if (!values[i].code) values[i].value.ui = (unsigned)(1e3 * mean_power_w(g, g->window_s) + 0.5);
    }
    return OK;
}

typedef struct { unsigned long long total, free, used; } Memory;
int nvmlDeviceGetMemoryInfo(Gpu *g, Memory *out) {
    ASK(g);
    *out = (Memory){g->total, g->total - g->reserved - g->used, g->reserved + g->used};
    return OK;
}
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } MemoryV2;
int nvmlDeviceGetMemoryInfo_v2(Gpu *g, MemoryV2 *out) {
    ASK(g);
    if (out->version != 0x02000028) return 25;
    *out = (MemoryV2){out->version, g->total, g->reserved, g->total - g->reserved - g->used, g->used};
    return OK;
}

#define GET(function, type, field) \
    int function(Gpu *g, type *out) { ASK(g); *out = (type)g->field; return OK; }
GET(nvmlDeviceGetEnforcedPowerLimit, unsigned, limit_mw)
GET(nvmlDeviceGetPowerManagementLimit, unsigned, limit_mw)
GET(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, default_mw)
GET(nvmlDeviceGetArchitecture, unsigned, arch)
GET(nvmlDeviceGetDisplayMode, unsigned, monitor)
GET(nvmlDeviceGetDisplayActive, unsigned, display)
GET(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, throttle)
GET(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, throttle)
GET(nvmlDeviceGetComputeMode, unsigned, zero)
GET(nvmlDeviceGetCurrPcieLinkGeneration, unsigned, pcie_gen)
GET(nvmlDeviceGetCurrPcieLinkWidth, unsigned, pcie_width)
GET(nvmlDeviceGetPersistenceMode, unsigned, zero)
int nvmlDeviceGetPowerManagementLimitConstraints(Gpu *g, unsigned *low_mw, unsigned *high_mw) {
    ASK(g);
    *low_mw = g->default_mw / 4;
    *high_mw = g->default_mw;
    return OK;
}
int nvmlDeviceSetPowerManagementLimit(Gpu *g, unsigned mw) {
    ASK(g);
    if (mw < g->default_mw / 4 || mw > g->default_mw) return INVALID;
    g->limit_mw = mw;
    if (g->limits_file[0]) {
        FILE *f = fopen(g->limits_file, "a");
        if (!f) return UNKNOWN;
        fprintf(f, "%.6f %u\n", now_s(), mw);
        fclose(f);
    }
    return OK;
}
typedef struct { unsigned gpu, memory; } Utilization;
int nvmlDeviceGetUtilizationRates(Gpu *g, Utilization *out) {
    ASK(g);
    *out = (Utilization){g->utilization, 0};
    return OK;
}
int nvmlDeviceGetTemperature(Gpu *g, unsigned sensor, unsigned *out) {
    ASK(g);
    *out = g->temperature;
    return sensor ? INVALID : OK;
}
int nvmlDeviceGetClockInfo(Gpu *g, unsigned domain, unsigned *out) {
    ASK(g);
    *out = domain == 2 ? g->memory_mhz : g->sm_mhz;
    return OK;
}
int nvmlDeviceGetMigMode(Gpu *g, unsigned *current, unsigned *pending) {
    ASK(g);
    *current = *pending = g->mig > 0;
    return OK;
}

typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } ProcessInfo;
static int processes(const Gpu *g, char kind, unsigned *count, ProcessInfo *out) {
    unsigned room = out ? *count : 0, found = 0;
    for (int i = 0; i < g->process_count; i++) {
        if (g->processes[i].kind != kind) continue;
        if (found < room) out[found] = (ProcessInfo){g->processes[i].pid, 0, ~0u, ~0u};
        found++;
    }
    *count = found;
    return found > room ? TOO_SMALL : OK;
}
int nvmlDeviceGetComputeRunningProcesses_v3(Gpu *g, unsigned *n, ProcessInfo *out) { ASK(g); return processes(g, 'c', n, out); }
int nvmlDeviceGetGraphicsRunningProcesses_v3(Gpu *g, unsigned *n, ProcessInfo *out) { ASK(g); return processes(g, 'g', n, out); }
