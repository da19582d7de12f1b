/*
   Structures that ordinary mail does not have. Each rule wants several independent marks at once: a text that merely
   talks of one of them must stay clean. All are `suspicious`: they name a way of attack, not a known piece of malware.
*/

rule disguised_executable {
    meta:
        threat = "Disguised.Executable"
        outcome = "suspicious"
        evidence = "a Windows program under the name of a document, picture or text"
    condition:
        uint16(0) == 0x5A4D and uint32(uint32(0x3C)) == 0x00004550 and
        object_name matches /\.(pdf|docx?|xlsx?|pptx?|rtf|odt|ods|txt|csv|html?|jpe?g|png|gif|bmp|mp3|mp4|avi|zip)[ _.]*(\.(exe|scr|com|pif|cpl))?$/i
}

rule script_dropper {
    meta:
        threat = "Script.Dropper"
        outcome = "suspicious"
        evidence = "a script that downloads, writes a file and runs it"
    strings:
        $fetch1 = "MSXML2.XMLHTTP" nocase
        $fetch2 = "MSXML2.ServerXMLHTTP" nocase
        $fetch3 = "WinHttp.WinHttpRequest" nocase
        $fetch4 = "Microsoft.XMLHTTP" nocase
        $write1 = "ADODB.Stream" nocase
        $write2 = "SaveToFile" nocase
        $run1 = "WScript.Shell" nocase
        $run2 = "Shell.Application" nocase
        $make1 = "CreateObject" nocase
        $make2 = "ActiveXObject" nocase
    condition:
        filesize < 2MB and any of ($fetch*) and all of ($write*) and any of ($run*) and any of ($make*)
}

rule powershell_downloader {
    meta:
        threat = "Script.PowerShell.Downloader"
        outcome = "suspicious"
        evidence = "a hidden PowerShell call that downloads code and runs it"
    strings:
        $shell = "powershell" nocase
        $hidden = /-w(in(dowstyle)?)? +(hidden|1)\b/ nocase
        $fetch1 = ".DownloadString(" nocase
        $fetch2 = ".DownloadFile(" nocase
        $run1 = /\biex\b/ nocase
        $run2 = "Invoke-Expression" nocase
        $run3 = "Start-Process" nocase
    condition:
        filesize < 2MB and $shell and $hidden and any of ($fetch*) and any of ($run*)
}

rule shortcut_runner {
    meta:
        threat = "Shortcut.Runner"
        outcome = "suspicious"
        evidence = "a Windows shortcut that starts a command interpreter"
    strings:
        $target1 = "powershell" ascii wide nocase
        $target2 = "mshta" ascii wide nocase
        $target3 = "wscript" ascii wide nocase
        $target4 = "rundll32" ascii wide nocase
        $target5 = "cmd.exe" ascii wide nocase
        $remote = "http" ascii wide nocase
        $encoded = /-e(nc(odedcommand)?)? +[A-Za-z0-9+\/]{40}/ ascii wide nocase
    condition:
        uint32be(0) == 0x4C000000 and uint32be(4) == 0x01140200 and any of ($target*) and ($remote or $encoded)
}

rule office_autorun_macro {
    meta:
        threat = "Macro.AutoRun"
        outcome = "suspicious"
        evidence = "an Office document whose macro starts by itself and runs programs"
    strings:
        $project = "_VBA_PROJECT" wide
        $auto1 = "AutoOpen" nocase
        $auto2 = "AutoExec" nocase
        $auto3 = "Auto_Open" nocase
        $auto4 = "Document_Open" nocase
        $auto5 = "Workbook_Open" nocase
        $act1 = "WScript.Shell" nocase
        $act2 = "URLDownloadToFile" nocase
        $act3 = "ShellExecute" nocase
        $act4 = "powershell" nocase
        $act5 = "MSXML2.XMLHTTP" nocase
        $act6 = /\bShell[ (]/
    condition:
        uint32be(0) == 0xD0CF11E0 and $project and any of ($auto*) and any of ($act*)
}

rule rtf_equation_object {
    meta:
        threat = "Exploit.RTF.Equation"
        outcome = "suspicious"
        evidence = "an RTF text with an embedded Equation Editor object"
    strings:
        $class = "4571756174696f6e2e33" nocase
        $data = "\\objdata"
        $update = "\\objupdate"
    condition:
        uint32be(0) == 0x7B5C7274 and $class and ($data or $update)
}
