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

rule pdf_script_on_open {
    meta:
        threat = "Heuristic.Pdf.OpenScript"
        outcome = "suspicious"
        evidence = "a PDF document with a script that runs as soon as the document is opened"
    strings:
        $open = /(^|\n)OpenAction\b/
        $script = /\/S\s*\/JavaScript\b/
        $print = /\/JS\s*\(?\s*(this\.)?print\s*\\?\(/
    condition:
        object_type == "text/x-pdf-action" and $open and $script and not $print
}

rule pdf_remote_file {
    meta:
        threat = "Heuristic.Pdf.RemoteFile"
        outcome = "suspicious"
        evidence = "a PDF document with an action that opens a file on another host's share"
    strings:
        $share = /(gotor|gotoe|launch|submitform|importdata|thread)\b[^\n]{0,80}(\\\\|file:\/\/)[^\\\/\s]/ nocase
        $first = /(\\\\|file:\/\/)[^\\\/\s][^\n]{0,300}\/S\s{0,9}\/(gotor|gotoe|launch|submitform|importdata|thread)\b/ nocase
    condition:
        object_type == "text/x-pdf-action" and any of them
}

rule pdf_program_address {
    meta:
        threat = "Heuristic.Pdf.ProgramAddress"
        outcome = "suspicious"
        evidence = "a PDF document with a link to a program, script, disk image or share"
    strings:
        $scheme = /(^|\n)(file:\/*[^\/\s]{1,200}\.|\\\\|search-ms:|search:|ms-[a-z]|shell:)/ nocase
        $program = /\.(exe|scr|pif|js|jse|vbs|vbe|wsf|hta|msi|iso|img|lnk|ps1|bat|cmd)([?#\s]|$)/ nocase
    condition:
        object_type == "text/x-pdf-action" and object_name == "addresses of programs" and any of them
}
