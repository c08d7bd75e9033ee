/* libharu. */
#include <dirent.h>
#include <hpdf.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

static jmp_buf failed;
static void fail(HPDF_STATUS code, HPDF_STATUS detail, void *unused) { longjmp(failed, 1); }

static void make(const char *name, HPDF_UINT compression, const char *logo, const char *user, const char *owner) {
    char path[300];
    HPDF_Doc document = HPDF_New(fail, NULL);
    if (setjmp(failed)) { fprintf(stderr, "%s: error\n", name); HPDF_Free(document); return; }
    HPDF_SetCompressionMode(document, compression);
    HPDF_Page page = HPDF_AddPage(document);
    HPDF_Page_BeginText(page);
    HPDF_Page_SetFontAndSize(page, HPDF_GetFont(document, "Helvetica", NULL), 10);
    for (int n = 0; n < 50; n++) {
        snprintf(path, sizeof path, "Position %d: article %d, 3 pieces", n, n * 37);
        HPDF_Page_TextOut(page, 50, 800 - 14 * n, path);
    }
    HPDF_Page_EndText(page);
    if (logo) HPDF_Page_DrawImage(page, HPDF_LoadPngImageFromFile(document, logo), 300, 600, 200, 80);
    if (owner) HPDF_SetPassword(document, owner, user);
    snprintf(path, sizeof path, "out/%s.pdf", name);
    HPDF_SaveToFile(document, path);
    HPDF_Free(document);
}

int main(void) {
    make("plain", HPDF_COMP_NONE, NULL, NULL, NULL);
    make("compressed", HPDF_COMP_ALL, NULL, NULL, NULL);
    make("owner password", HPDF_COMP_ALL, NULL, "", "o");
    make("user password", HPDF_COMP_ALL, NULL, "u", "o");
    DIR *logos = opendir("logos");
    for (struct dirent *entry; (entry = readdir(logos));) {
        char logo[300], name[300];
        if (!strstr(entry->d_name, ".png")) continue;
        snprintf(logo, sizeof logo, "logos/%s", entry->d_name);
        make(entry->d_name, HPDF_COMP_ALL, logo, NULL, NULL);
        snprintf(name, sizeof name, "%s uncompressed", entry->d_name);
        make(name, HPDF_COMP_NONE, logo, NULL, NULL);
    }
    return 0;
}
