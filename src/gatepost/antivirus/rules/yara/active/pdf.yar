/* Actions of PDF documents, as `text/x-pdf-action`: one action a line, its name and its target. */

rule pdf_launch {
    meta:
        threat = "Heuristic.Pdf.Launch"
        outcome = "suspicious"
        evidence = "a PDF document with an action that starts a program"
    strings:
        $launch = /(^|[^a-z])launch\b/ nocase
    condition:
        object_type == "text/x-pdf-action" and $launch
}

rule pdf_remote_file {
    meta:
        threat = "Heuristic.Pdf.RemoteFile"
        outcome = "suspicious"
        evidence = "a PDF document with an action that opens a file on another host's share"
    strings:
        $share = /(gotor|gotoe|launch|submitform|importdata)\b[^\n]{0,80}(\\\\|file:\/\/)[^\\\/\s]/ nocase
        $program = /\buri\b[^\n]{0,800}\.(exe|scr|js|vbs|hta|msi|iso|lnk)(\s|$|")/ nocase
    condition:
        object_type == "text/x-pdf-action" and any of them
}
