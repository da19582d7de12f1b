/*
   Scripts and what stands for them, attached or inside something. Each rule wants several independent marks at once: a
   text that merely talks of one of them must stay clean.
*/

rule script_dropper {
    meta:
        threat = "Heuristic.Script.Dropper"
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
        filesize < 4MB and any of ($fetch*) and any of ($write*) and any of ($run*) and any of ($make*)
}

rule script_runs_command {
    meta:
        threat = "Heuristic.Script.Command"
        outcome = "suspicious"
        evidence = "a script that makes a shell object and runs commands with it"
    strings:
        $make = /(createobject|activexobject|getobject)\s*\(\s*["'][^"']{0,10}(wscript\.shell|shell\.application|winmgmts)/ nocase
        $run = /\.(run|exec|shellexecute|create)\s*\(?/ nocase
        $what1 = /(powershell|cmd(\.exe)?\s*\/[ck]|mshta|rundll32|regsvr32|certutil|bitsadmin|msiexec)/ nocase
        $what2 = /%(temp|appdata|public|programdata)%/ nocase
        $what3 = /expandenvironmentstrings|getspecialfolder/ nocase
        $what4 = /\.(exe|dll|scr|ps1|bat)["']/ nocase
    condition:
        filesize < 4MB and $make and $run and any of ($what*)
}

rule script_hidden_object {
    meta:
        threat = "Heuristic.Script.Obfuscated"
        outcome = "suspicious"
        evidence = "a Windows script that hides the names of the objects it makes"
    strings:
        $make1 = /(activexobject|createobject)\s*\(\s*([\w.]{1,60}\s*[\[(]|["'][^"']{0,12}["']\s*[+&]|string\.fromcharcode|unescape|chrw?\s*\()/ nocase
        $make2 = /wscript\s*\[/ nocase
        $build1 = "String.fromCharCode" nocase
        $build2 = /\bchrw?\s*\(\s*\d+\s*\)\s*&\s*chrw?\s*\(/ nocase
        $build3 = /\b(eval|execute(global)?)\s*\(/ nocase
        $build4 = ".split(" nocase
        $build5 = "StrReverse" nocase
        $build6 = /\[\s*["'][A-Za-z]{1,8}["']\s*\+\s*["']/
    condition:
        filesize < 4MB and any of ($make*) and any of ($build*)
}

rule script_encoded {
    meta:
        threat = "Heuristic.Script.Encoded"
        outcome = "suspicious"
        evidence = "a script in the encoded form of the Windows script host"
    strings:
        $begin = "#@~^"
        $end = "^#~@"
    condition:
        filesize < 4MB and $begin and $end
}

rule powershell_downloader {
    meta:
        threat = "Heuristic.Script.PowerShell"
        outcome = "suspicious"
        evidence = "PowerShell that fetches or unpacks code and runs it"
    strings:
        $shell1 = "powershell" nocase
        $shell2 = /(^|[^\w-])(new-object|invoke-\w+|start-process|set-\w+|get-\w+|\$\w+\s*=)/ nocase
        $fetch1 = /\.download(string|file|data)\s*\(/ nocase
        $fetch2 = /\b(invoke-webrequest|iwr|invoke-restmethod|irm|start-bitstransfer)\b/ nocase
        $fetch3 = "FromBase64String" nocase
        $run1 = /(^|[^\w-])(iex|invoke-expression)\b/ nocase
        $run2 = "Start-Process" nocase
        $run3 = /reflection\.assembly\]?::?\(?load/ nocase
        $run4 = "VirtualAlloc" nocase
        $run5 = /invoke-item|\.invoke\(/ nocase
    condition:
        filesize < 4MB and any of ($shell*) and any of ($fetch*) and any of ($run*)
}

rule powershell_hidden {
    meta:
        threat = "Heuristic.Script.PowerShell.Hidden"
        outcome = "suspicious"
        evidence = "a command that starts PowerShell unseen, with code in a form people cannot read or from the network"
    strings:
        $hidden = /powershell(\.exe)?["']?\s[^\n]{0,200}-w(in(dowstyle)?)?\s+(hidden|1)\b/ nocase
        $encoded = /powershell(\.exe)?["']?\s[^\n]{0,200}-e(c|nc|nco\w{0,10})?\s+[A-Za-z0-9+\/]{40}/ nocase
        $fetch = /powershell[^\n]{0,400}(downloadstring|downloadfile|invoke-webrequest|\biwr\b|\biex\b|frombase64string)/ nocase
    condition:
        filesize < 4MB and ($encoded or ($hidden and $fetch))
}

rule batch_downloader {
    meta:
        threat = "Heuristic.Script.Batch"
        outcome = "suspicious"
        evidence = "a command script that fetches or unpacks a program with means of the system"
    strings:
        $fetch1 = /certutil(\.exe)?\s[^\n]{0,100}-(urlcache|decode|decodehex)/ nocase
        $fetch2 = /bitsadmin(\.exe)?\s[^\n]{0,60}\/transfer/ nocase
        $fetch3 = /mshta(\.exe)?\s+"?(https?|javascript|vbscript):/ nocase
        $fetch4 = /regsvr32(\.exe)?\s[^\n]{0,100}\/i:https?:/ nocase
        $fetch5 = /\bcurl(\.exe)?\s[^\n]{0,200}(-o|--output)[^\n]{0,200}\.(exe|dll|bat|ps1|vbs|js|msi)\b/ nocase
        $fetch6 = /rundll32(\.exe)?\s[^\n]{0,100}(javascript:|\\\\[^\\\s]{1,100}@(ssl|80|443))/ nocase
    condition:
        filesize < 4MB and any of them
}

rule application_page {
    meta:
        threat = "Heuristic.Script.Hta"
        outcome = "suspicious"
        evidence = "an application page (HTA): it runs outside of the browser, with all rights of the reader"
    strings:
        $application = "<hta:application" nocase
        $script = "<script" nocase
        $object = /(wscript\.shell|shell\.application|activexobject|createobject|powershell|getobject)/ nocase
    condition:
        filesize < 8MB and ($application or (object_name iendswith ".hta" and $script)) and $object
}

rule link_file_remote {
    meta:
        threat = "Heuristic.Shortcut.Url"
        outcome = "suspicious"
        evidence = "a link file (.url) to a program or a share of another host"
    strings:
        $head = /\[InternetShortcut\]/ nocase
        $share = /\n(url|iconfile|workingdirectory)\s*=\s*"?(file:\/*)?(\\\\|\/\/)?[^\s"]{0,100}(@(ssl|80|443|8080)[\\\/]|davwwwroot)/ nocase
        $file = /\nurl\s*=\s*"?(file:\/\/+|\\\\)[^\s"\/\\]{1,100}[\\\/]/ nocase
        $program = /\nurl\s*=[^\n]{0,400}\.(exe|scr|js|vbs|hta|msi|iso|lnk|bat|cmd)\s*(\n|$)/ nocase
    condition:
        filesize < 64KB and $head and any of ($share, $file, $program)
}

rule query_file {
    meta:
        threat = "Heuristic.Office.Query"
        outcome = "suspicious"
        evidence = "a query file (.iqy and the like): Excel fetches what it names and may run it"
    strings:
        $head = /^(\xef\xbb\xbf)?\s{0,9}WEB[ \t]{0,9}\r?\n\s{0,9}1[ \t]{0,9}\r?\n\s{0,9}https?:/ nocase
        $other = /^(\xef\xbb\xbf)?QueryType\s{0,9}=[^\x00]{1,4000}https?:\/\// nocase
    condition:
        filesize < 64KB and any of them
}

rule symbolic_link_sheet {
    meta:
        threat = "Heuristic.Office.Sylk"
        outcome = "suspicious"
        evidence = "a table in text form (SYLK) with a formula that runs programs"
    strings:
        $head = "ID;P"
        $run = /;E\s*(exec|call|register)\s*\(/ nocase
        $dde = /;E[^\n]{0,20}(cmd|powershell|msexcel|mshta)\|/ nocase
    condition:
        $head at 0 and ($run or $dde)
}

rule table_dde {
    meta:
        threat = "Heuristic.Office.TableDde"
        outcome = "suspicious"
        evidence = "a table in text form with a formula that starts a command interpreter (DDE)"
    strings:
        $dde = /(^|[\n,;\t"'])[=+\-@][^\n]{0,40}\b(cmd|powershell|mshta|rundll32|regsvr32|msexcel|wscript)\s*\|[^\n]{1,200}![^\n]{1,20}/ nocase
    condition:
        filesize < 4MB and $dde
}

rule pdf_script_exploit {
    meta:
        threat = "Heuristic.Pdf.Script"
        outcome = "suspicious"
        evidence = "JavaScript of a PDF document that writes files, opens programs or builds machine code"
    strings:
        $export = /exportDataObject\s*\([^)]{0,200}nLaunch/ nocase
        $launch = /app\.launchURL|this\.submitForm\s*\(|SOAP\.(connect|request)|util\.printf\s*\(\s*["']%45000/ nocase
        $heap = /unescape\s*\(\s*["'](%u[0-9a-f]{4}){4}/ nocase
        $hidden = /eval\s*\(\s*(unescape|String\.fromCharCode|this\.info|\w+\.replace)/ nocase
        $exploit = /Collab\.(collectEmailInfo|getIcon)|media\.newPlayer|spell\.customDictionaryOpen/ nocase
    condition:
        (object_inside == "pdf" or object_inside == "xml") and any of them
}
