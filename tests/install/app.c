/* What tests/install.sh builds in each way that README names: prints the device's name. */
#include <stdio.h>
#include <triage.h>

int main(void) {
    triage_context *context = NULL;
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    options.device = "host";
    if (triage_context_open(&context, &options) != TRIAGE_OK) {
        fprintf(stderr, "%s\n", triage_last_error());
        return 1;
    }
    printf("%s\n", triage_context_device_name(context));
    triage_context_free(context);
    return 0;
}
