/*
 * In place of qmail-queue: starts the filtering client, which runs the original. Installed with the owner and group of
 * the original and mode 4755.
 *
 * It runs with more rights than whoever calls it, so it does next to nothing: three fixed paths, an environment of its
 * own, no descriptor but those of qmail-queue(8), signals as at the beginning. It reads neither message nor envelope.
 *
 *   cc -O2 -Wall -DPYTHON='"/path/python3"' -DSETTINGS='"/etc/gatepost-client/client.toml"' -o qmail-queue qmail_queue.c
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if !defined(PYTHON) || !defined(SETTINGS)
#error "PYTHON and SETTINGS are the paths of the interpreter and of the settings file"
#endif

#define NO_DESCRIPTORS 54 /* of qmail-queue(8): unable to read the message or envelope */
#define NOT_STARTED 120   /* what qmail says itself of a program it cannot start: temporary */
#define DESCRIPTORS 65536 /* where the kernel cannot close a range (before Linux 5.9): more nobody hands over */
#define TOLD 6            /* words to the sender, where the caller has that extension */
#define ADDRESS_LIMIT 80  /* bytes of "TCPREMOTEIP=" and an address */
#define SETTINGS_LIMIT 4096

extern char **environ;

/* The variable itself, "name=value", if it is there and not too long. */
static char *find(const char *name, size_t limit)
{
    size_t length = strlen(name);
    for (char **at = environ; at && *at; at++)
        if (!strncmp(*at, name, length) && (*at)[length] == '=')
            return strnlen(*at, limit) < limit ? *at : 0;
    return 0;
}

/* Whatever the limit is now: descriptors may be above one that was lowered. */
static void close_between(unsigned int first, unsigned int last)
{
#ifdef SYS_close_range
    if (!syscall(SYS_close_range, first, last, 0))
        return;
#endif
    for (unsigned int descriptor = first; descriptor <= last && descriptor < DESCRIPTORS; descriptor++)
        close(descriptor);
}

int main(void)
{
    static char *arguments[] = {PYTHON, "-I", "-m", "gatepost.client", "qmail", "-c", SETTINGS, 0};
    static char path[] = "PATH=/usr/bin:/bin", locale[] = "LC_ALL=C.UTF-8";
    char *environment[] = {path, locale, 0, 0};
    char *address = find("TCPREMOTEIP", ADDRESS_LIMIT);
    char *settings = find("GATEPOST_CLIENT_SETTINGS", SETTINGS_LIMIT);
    struct stat told;
    sigset_t none;

    if (fcntl(0, F_GETFD) == -1 || fcntl(1, F_GETFD) == -1)
        return NO_DESCRIPTORS;
    if (fcntl(2, F_GETFD) == -1 && open("/dev/null", O_WRONLY) != 2)
        return NOT_STARTED;
    if (!fstat(TOLD, &told) && S_ISFIFO(told.st_mode)) {
        close_between(3, TOLD - 1);
        close_between(TOLD + 1, ~0U);
    } else {
        close_between(3, ~0U);
    }
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, 0);
    umask(077);
    if (address)
        environment[2] = address;
    /* Only who could change the settings anyway may name others. */
    if (settings && (getuid() == 0 || (getuid() == geteuid() && getgid() == getegid())))
        arguments[6] = strchr(settings, '=') + 1;
    execve(PYTHON, arguments, environment);
    return NOT_STARTED;
}
