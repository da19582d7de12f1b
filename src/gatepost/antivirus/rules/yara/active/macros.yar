/*
   Macros of Office documents, as the openers show them: a module's source (text/x-vba), the texts of compiled code that
   its source does not have (text/x-vba-stomped), the formulas of macro sheets (text/x-xlm-macro). A macro is not
   malware: what counts is that it starts by itself and reaches out of its document.
*/

rule macro_autorun {
    meta:
        threat = "Heuristic.Macro.AutoRun"
        outcome = "suspicious"
        evidence = "a macro that starts by itself and runs programs or calls the system"
    strings:
        $auto1 = /\b(auto_?(open|exec|close|new|exit)|document_?(open|close|new|beforeclose|contentcontrolonenter)|workbook_?(open|activate|beforeclose|deactivate|newsheet|windowactivate|sheetactivate)|app_(documentopen|workbookopen)|worksheet_(activate|calculate|change|selectionchange)|(slideshow|presentation)_?(onslideshowpagechange|open|begin)|onslideshowpagechange)\b/ nocase
        $auto2 = /\w_(layout|paint|painted|painting|gotfocus|mousemove|mousehover|resize|beforenavigate2|beforescriptexecute|downloadcomplete|navigatecomplete2|onconnecting|ondisconnected|statuschange|titlechange|progresschange)\s*\(/ nocase
        $run1 = /\bshell(execute[aw]?)?\s*[("]/ nocase
        $run2 = /\bshell\$?\s+[a-z_"(]/ nocase
        $run3 = /(create|get)object\s*\(?\s*"[^"]{0,40}(wscript|shell\.application|shell\.explorer|msxml|xmlhttp|winhttp|adodb\.stream|winmgmts|scriptcontrol|internetexplorer|schedule\.service|new:)/ nocase
        $run4 = /createobject\s*\(\s*([a-z_]\w{0,60}\s*[,()&+]|chrw?\$?\s*\(|"[^"]{0,20}"\s*[&+])/ nocase
        $run5 = /\bdeclare\s+(ptrsafe\s+)?(function|sub)\s+\w+\s+lib\s+"?(kernel32|ntdll|urlmon|wininet|user32|shell32|advapi32)/ nocase
        $run6 = "URLDownloadToFile" nocase
        $run7 = "powershell" nocase
        $run8 = "ExecuteExcel4Macro" nocase
        $run9 = "mshta" nocase
        $run10 = /\bMacScript\b/ nocase
        $run11 = /open\s+\S.{0,120}\sfor\s+binary/ nocase
        $run12 = "SendKeys" nocase
        $run13 = /\.(ExecMethod_|ShellExecute|Exec)\b/ nocase
        $run14 = /win32_process(startup)?\b/ nocase
        $run15 = /\benviron\$?\s*\(\s*"(temp|tmp|appdata|public|programdata|comspec|userprofile)"/ nocase
    condition:
        object_type startswith "text/x-vba" and filesize < 4MB and any of ($auto*) and any of ($run*)
}

rule macro_dropper {
    meta:
        threat = "Heuristic.Macro.Dropper"
        outcome = "infected"
        evidence = "a macro that starts by itself, fetches or builds a file and runs it"
    strings:
        $auto = /\b(auto_?(open|exec)|document_?open|workbook_?(open|activate))\b/ nocase
        $fetch1 = "URLDownloadToFile" nocase
        $fetch2 = /(xmlhttp|winhttprequest)/ nocase
        $fetch3 = /\.download(string|file|data)\b/ nocase
        $fetch4 = /(invoke-webrequest|bitsadmin|certutil|\bcurl(\.exe)?\s)/ nocase
        $fetch5 = "nodeTypedValue" nocase
        $fetch6 = /-e(nc|ncodedcommand|c)?\s+[a-z0-9+\/]{60}/ nocase
        $file1 = "SaveToFile" nocase
        $file2 = "powershell" nocase
        $file3 = /"[^"]{1,200}\.(exe|dll|scr|js|vbs|bat|ps1|hta)"/ nocase
        $run1 = /\bshell(execute[aw]?)?\s*\(?\s*[a-z_"(]/ nocase
        $run2 = /wscript\.shell|shell\.application|win32_process/ nocase
    condition:
        object_type == "text/x-vba" and filesize < 4MB and $auto and any of ($fetch*) and any of ($file*) and
        any of ($run*)
}

rule macro_downloader {
    meta:
        threat = "Heuristic.Macro.Downloader"
        outcome = "suspicious"
        evidence = "a macro that fetches a file and runs programs"
    strings:
        $fetch1 = "URLDownloadToFile" nocase
        $fetch2 = /msxml2?\.(server)?xmlhttp|winhttp\.winhttprequest|microsoft\.xmlhttp/ nocase
        $fetch3 = /\.download(string|file|data)\b/ nocase
        $run1 = /\bshell(execute[aw]?)?\s*\(?\s*[a-z_"(]/ nocase
        $run2 = /wscript\.shell|shell\.application|win32_process/ nocase
        $run3 = "powershell" nocase
    condition:
        object_type startswith "text/x-vba" and filesize < 4MB and any of ($fetch*) and any of ($run*)
}

rule macro_stomped {
    meta:
        threat = "Heuristic.Macro.Stomped"
        outcome = "suspicious"
        evidence = "the compiled form of a macro holds texts that its source does not: the source is a blind"
    condition:
        object_type == "text/x-vba-stomped"
}

rule macro_sheet_autorun {
    meta:
        threat = "Heuristic.Macro.Excel4"
        outcome = "suspicious"
        evidence = "a macro sheet (Excel 4) that starts by itself"
    strings:
        $auto = /auto_?(open|close|activate|deactivate)/ nocase
    condition:
        object_type == "text/x-xlm-macro" and $auto
}

rule macro_sheet_runs {
    meta:
        threat = "Heuristic.Macro.Excel4.Run"
        outcome = "suspicious"
        evidence = "a macro sheet (Excel 4) that runs programs or calls the system"
    strings:
        $call = /\b(exec|call|register(\.id)?|fopen|fwriteln?|urldownloadtofile[aw]?|dde\.?initiate|initiate|execute|send\.keys)\s*\(/ nocase
        $library = /\b(urlmon|kernel32|shell32|wininet|powershell|mshta|regsvr32|rundll32|wscript)\b/ nocase
    condition:
        object_type == "text/x-xlm-macro" and any of them
}
