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

rule script_host_runs {
    meta:
        threat = "Heuristic.Script.Run"
        outcome = "suspicious"
        evidence = "a script of the Windows script host that starts programs, or runs a script of another host"
    strings:
        $make = /(createobject|getobject|ctivexobject)\s{0,9}\(/ nocase
        $known = /activexobject\s{0,9}\(\s{0,9}["'](htmlfile|msxml|microsoft\.xml|shockwave)/ nocase
        $run = /\.\s{0,9}(run|shellexecute|transformnode)\b|\[\s{0,9}["'](run|shellexecute)["']\s{0,9}\]/ nocase
        $create = /\.\s{0,9}(exec|create|execmethod_?)\b/ nocase
        $moniker = /getobject\s{0,9}\(\s{0,9}["'](script|winmgmts):[^\n]{0,200}(https?:|win32_process)/ nocase
    condition:
        filesize < 4MB and ($moniker or #make > #known and $run or
        $make and $create and (object_name iendswith ".vbs" or object_name iendswith ".wsf")) and
        (object_name iendswith ".vbs" or object_name iendswith ".wsf" or object_name iendswith ".sct" or
        object_name iendswith ".wsc" or object_name iendswith ".js" or object_name iendswith ".jse")
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

rule script_hidden_calls {
    meta:
        threat = "Heuristic.Script.Obfuscated"
        outcome = "suspicious"
        evidence = "a Windows script that puts what it runs together out of pieces"
    strings:
        $signs = "(![]+[])"
        $filler1 = { E3 85 A4 EF BE A0 }
        $filler2 = { EF BE A0 EF BE A0 }
        $filler3 = { E3 85 A4 E3 85 A4 }
        $pieces = /\[\s{0,9}["'][A-Za-z]{1,8}["']\s{0,9}\+\s{0,9}["'][A-Za-z]{1,8}["']/
        $execute = /(^|[\n:=\s])(execute|executeglobal|eval)\s{0,9}[\s(]/ nocase
        $characters = /\bchrw?\$?\s{0,9}\(/ nocase
    condition:
        filesize < 4MB and ((object_name iendswith ".js" or object_name iendswith ".jse") and (#pieces >= 3 or #signs >= 8 or
        #filler1 + #filler2 + #filler3 >= 20) or
        (object_name iendswith ".vbs" or object_name iendswith ".vbe") and $execute and $characters)
}

rule script_padded {
    meta:
        threat = "Heuristic.Script.Padded"
        outcome = "suspicious"
        evidence = "a Windows script of a size that only serves to keep it from being looked at"
    condition:
        filesize >= 4MB and (object_name iendswith ".vbs" or object_name iendswith ".vbe" or object_name iendswith ".jse" or
        object_name iendswith ".wsf" or object_name iendswith ".hta" or object_name iendswith ".sct" or
        object_name iendswith ".cmd" or object_name iendswith ".bat" or object_name iendswith ".ps1" or
        object_name iendswith ".js")
}

rule script_from_elsewhere {
    meta:
        threat = "Heuristic.Script.Remote"
        outcome = "suspicious"
        evidence = "a Windows script or application page that runs a script of another host"
    strings:
        $source = /<script\s[^>]{0,400}src\s{0,9}=\s{0,9}["']?\s{0,9}(https?:|\\\\|file:)/ nocase
    condition:
        filesize < 4MB and $source and (object_name iendswith ".wsf" or object_name iendswith ".hta" or
        object_name iendswith ".sct" or object_name iendswith ".wsc")
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
        filesize < 4MB and $begin and ($end or object_name iendswith ".jse" or object_name iendswith ".vbe")
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
        $fetch4 = /msxml2?\.(server)?xmlhttp|winhttp\.winhttprequest/ nocase
        $run1 = /(^|[^\w-])(iex|invoke-expression)\b/ nocase
        $run2 = "Start-Process" nocase
        $run3 = /reflection\.assembly\]?::?\(?load/ nocase
        $run4 = "VirtualAlloc" nocase
        $run5 = /invoke-item|\.invoke\(/ nocase
        $run6 = /(^|[\n;{|])\s{0,9}(saps\s|&\s{0,3}\()/ nocase
    condition:
        filesize < 4MB and any of ($fetch*) and any of ($run*) and
        (any of ($shell*) or object_name iendswith ".ps1" or object_name iendswith ".psm1")
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

rule powershell_obfuscated {
    meta:
        threat = "Heuristic.Script.PowerShell.Obfuscated"
        outcome = "suspicious"
        evidence = "PowerShell that hides the names of what it calls"
    strings:
        $ticks = /[a-z]`[a-z]{1,12}(`[a-z]{1,12}){0,9}[\s(.\-]/ nocase
        $characters = /\[char\]\s{0,3}(\(\s{0,3})?(0x)?[0-9a-f]{2,3}\s{0,3}\)?\s{0,3}\+\s{0,3}\[char\]/ nocase
        $call = /[&.]\s{0,3}(\(\s{0,9}["'$]|\$[a-z_]{1,30}\[)|\biex\b|\binvoke-expression\b|\.\s{0,3}\(?["'][a-z]{1,12}["']\s{0,3}\+/ nocase
        $format = /["'](\{[0-9]{1,2}\}){3,}["']\s{0,3}-f\s/ nocase
    condition:
        filesize < 4MB and (object_name iendswith ".ps1" or object_name iendswith ".psm1" or object_name iendswith ".bat" or
        object_name iendswith ".cmd") and (#ticks >= 3 or ($characters or #format >= 2) and $call)
}

rule batch_obfuscated {
    meta:
        threat = "Heuristic.Script.Batch.Obfuscated"
        outcome = "suspicious"
        evidence = "a command script that puts its commands together out of letters and pieces"
    strings:
        $letters = /%[^%\s:]{1,60}:~-?[0-9]{1,4},1%%[^%\s:]{1,60}:~-?[0-9]{1,4},1%/
        $carets = /[a-z]\^[a-z]\^[a-z]\^[a-z]\^[a-z]/ nocase
        $pieces = /(^|[\n&|@])[ \t]{0,9}([a-z]{0,12}%[^%\s:]{1,60}%){2,9}[ \t]/ nocase
        $set = /(^|[\n&|@])[ \t]{0,9}set[ \t]{1,9}["']?[^=\s]{1,60}=/ nocase
        $screen = "\xff\xfe&cls"
        $screen2 = "\xff\xfe\x0d\x0a"
    condition:
        filesize < 4MB and (object_name iendswith ".bat" or object_name iendswith ".cmd") and
        (#letters >= 3 or $carets or $pieces and #set >= 2 or $screen at 0 or $screen2 at 0)
}

rule batch_from_elsewhere {
    meta:
        threat = "Heuristic.Script.Batch.Remote"
        outcome = "suspicious"
        evidence = "a command script that runs what another host gives it"
    strings:
        $share = /\\\\([1-9][0-9]{0,2}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|[^\\\s"@]{1,100}@(ssl|80|443|8080)[^\\\s"]{0,20})\\/ nocase
        $own = /\\\\(10|127|192\.168|172\.(1[6-9]|2[0-9]|3[01]))\.[0-9.]{3,11}\\/
        $fetch1 = /\bmsiexec(\.exe)?\s[^\n]{0,200}https?:/ nocase
        $fetch2 = /\bwmic(\.exe)?\s[^\n]{0,200}\/format:[^\n]{0,20}https?:/ nocase
        $fetch3 = /\b(curl|wget|finger|certutil)(\.exe)?\s[^\n|]{1,300}\|\s{0,9}(cmd|powershell|pwsh)\b/ nocase
        $fetch4 = /\bftp(\.exe)?\s[^\n]{0,60}-s:/ nocase
        $fetch5 = /\bpowershell(\.exe)?\s[^\n]{0,400}(invoke-webrequest|invoke-restmethod|\biwr\b|\birm\b|downloadfile|downloadstring|start-bitstransfer)/ nocase
        $fetch6 = /\bpowershell(\.exe)?\s[^\n]{0,400}%~f0[^\n]{0,200}\biex\b/ nocase
        $fetch7 = /\bfor\s{1,9}\/f\b[^\n]{0,200}\b(curl|certutil|bitsadmin)\b[^\n]{0,300}\bdo\s{1,9}(call\s{1,9})?"?%/ nocase
    condition:
        filesize < 4MB and (object_name iendswith ".bat" or object_name iendswith ".cmd") and
        (any of ($fetch*) or #share > #own)
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
        $object = /(wscript\.shell|shell\.application|activexobject|createobject|powershell|getobject|\beval\s{0,9}\(|\bexecute(global)?[\s(]|fromcharcode|unescape\s{0,9}\()/ nocase
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
        $scheme = /\nurl\s*=\s*"?(mhtml|search|search-ms|shell|script|javascript|vbscript|ms-[a-z-]{2,40}|data|its|ms-its|mk):/ nocase
    condition:
        filesize < 64KB and $head and any of ($share, $file, $program, $scheme)
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
