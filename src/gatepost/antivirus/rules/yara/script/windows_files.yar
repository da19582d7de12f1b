/*
   Small text files that Windows, Office or Java open at a click, and that fetch or start something then: libraries and
   searches on other hosts, themes, consoles, remote desktops, installers. Hosts inside a network have names without a
   dot: only addresses and full names count as other hosts.
*/

rule remote_library {
    meta:
        threat = "Heuristic.Shortcut.Library"
        outcome = "suspicious"
        evidence = "a library or search of Windows Explorer that shows files of another host as if they were here"
    strings:
        $what = /<(libraryDescription|searchConnectorDescription|persistedQuery|OpenSearchDescription)[\s>]/ nocase
        $web = /<url>\s*(<!\[CDATA\[\s*)?https?:/ nocase
        $share = /(<url>\s*(<!\[CDATA\[\s*)?|path\s*=\s*["'])(file:\/*)?[\\\/]{2,5}([^\\\/\s<"']{1,100}[.@][^\\\/\s<"']{1,100}|[0-9]{8,10}|0x[0-9a-f]{8})[\\\/]/ nocase
        $hidden = /(<url>\s*|path\s*=\s*["'])[^<"']{0,40}&#/ nocase
        $search = /<url\s[^>]{0,400}template\s*=\s*["']\s*https?:/ nocase
    condition:
        filesize < 256KB and $what and ($web or $share or $hidden or $search and object_name iendswith ".osdx")
}

rule settings_link {
    meta:
        threat = "Heuristic.Shortcut.Settings"
        outcome = "suspicious"
        evidence = "a link to a settings page (SettingContent-ms), which starts any command"
    strings:
        $what = "<PCSettings" nocase
        $command = /<DeepLink>\s*[^<]{0,400}(\.exe|cmd|powershell|mshta|rundll32|wscript|cscript)/ nocase
    condition:
        filesize < 256KB and all of them
}

rule remote_desktop {
    meta:
        threat = "Heuristic.Shortcut.RemoteDesktop"
        outcome = "suspicious"
        evidence = "a remote desktop connection that gives the other host all disks of the reader, or starts a program"
    strings:
        $address = /(^|\n)\W{0,3}(full )?address:s:/ nocase
        $disks = /drivestoredirect:s:[^\n]{0,100}(\*|[a-z]:)/ nocase
        $start = /alternate shell:s:\S/ nocase
    condition:
        filesize < 256KB and object_name iendswith ".rdp" and $address and ($disks or $start)
}

rule remote_theme {
    meta:
        threat = "Heuristic.Shortcut.Theme"
        outcome = "suspicious"
        evidence = "a theme of Windows with parts on another host, which gets the reader's password hash"
    strings:
        $what = "[Theme]" nocase
        $share = /\n(wallpaper|path|brandimage|defaultvalue|soundscheme)\s*=\s*(file:\/*)?[\\\/]{2,5}[^\\\/\s]{1,100}[.@][^\\\/\s]{1,100}[\\\/]/ nocase
    condition:
        filesize < 256KB and all of them
}

rule icon_of_other_host {
    meta:
        threat = "Heuristic.Shortcut.Icon"
        outcome = "suspicious"
        evidence = "a link or folder file whose icon lies on another host, which gets the reader's password hash"
    strings:
        $what = /\[(InternetShortcut|Shell|\.ShellClassInfo)\]/ nocase
        $share = /\n(iconfile|iconresource|workingdirectory)\s*=\s*(file:\/*)?[\\\/]{2,5}[^\\\/\s]{1,100}[.@][^\\\/\s]{1,100}[\\\/]/ nocase
    condition:
        filesize < 64KB and all of them
}

rule console_command {
    meta:
        threat = "Heuristic.Shortcut.Console"
        outcome = "suspicious"
        evidence = "a management console (MSC) that runs scripts or commands"
    strings:
        $what = "<MMC_ConsoleFile" nocase
        $script = /(res:\/\/[^<]{0,100}apds\.dll|(java|vb)script:|transformNode|<!\[CDATA\[[^\]]{0,200}(activexobject|createobject))/ nocase
        $command = /(commandline|command)\s*=?[^<]{0,20}["'][^"'<]{0,200}(powershell|cmd(\.exe)?\s*\/|mshta|wscript|cscript|rundll32|https?:)/ nocase
        $page = /<String\s[^>]{0,100}>\s{0,9}(https?:|\\\\)/ nocase
    condition:
        filesize < 8MB and $what and ($script or $command or $page)
}

rule installer_of_other_host {
    meta:
        threat = "Heuristic.Shortcut.Installer"
        outcome = "suspicious"
        evidence = "a file that fetches a program from another host and installs or starts it"
    strings:
        $clickonce = /<deploymentProvider\s[^>]{0,200}codebase\s*=\s*["']https?:/ nocase
        $reference = /^(\xef\xbb\xbf)?https?:\/\/[^\n]{1,1000}\.application#/ nocase
        $appinstaller = /<AppInstaller\s[^>]{0,4000}uri\s*=\s*["']https?:/ nocase
        $java = /<jnlp\s[^>]{0,1000}(codebase|href)\s*=\s*["']https?:/ nocase
    condition:
        filesize < 1MB and any of them
}

rule desktop_entry {
    meta:
        threat = "Heuristic.Shortcut.Desktop"
        outcome = "suspicious"
        evidence = "a desktop entry or unit (Linux) that fetches or decodes something and runs it"
    strings:
        $what = /\[(Desktop Entry|Service)\]/
        $run = /\nExec(Start|StartPre)?\s*=[^\n]{0,400}\b((ba|da|z)?sh\s+-c[^\n]{0,800}(curl|wget|base64|xxd|python|nc)\b|python[0-9.]{0,5}\s+-c|perl\s+-e|ruby\s+-e)/
    condition:
        filesize < 64KB and all of them
}

rule registry_autostart {
    meta:
        threat = "Heuristic.Shortcut.Registry"
        outcome = "suspicious"
        evidence = "settings for the registry that have a command run at sign-in, or in place of a program"
    strings:
        $what = /(^|\n)\W{0,3}(Windows Registry Editor Version|REGEDIT4)/
        $where1 = /\\CurrentVersion\\(Policies\\Explorer\\)?Run(Once(Ex)?|Services)?[\\\]]/ nocase
        $where2 = /\\shell\\[^\\\]\n]{1,40}\\command\]/ nocase
        $where3 = /\\(Image File Execution Options\\|Winlogon\]|Active Setup\\Installed Components\\)/ nocase
        $command = /=\s*"[^\n]{0,200}(powershell|pwsh|cmd(\.exe)?\s{0,9}\/[ck]|mshta|rundll32|regsvr32|wscript|cscript|certutil|bitsadmin|https?:)/ nocase
        $numbers = /=hex(\([127]\))?:[0-9a-f,\s\\]{0,600}([57]0,00,[46]f,00,[57]7,00,[46]5,00,[57]2,00,[57]3,00|[46]3,00,[46]d,00,[46]4,00,(2e|20),00|[46]d,00,[57]3,00,[46]8,00,[57]4,00,[46]1,00|[57]2,00,[57]5,00,[46]e,00,[46]4,00,[46]c,00,[46]c,00|[46]8,00,[57]4,00,[57]4,00,[57]0,00)/ nocase
        $logon = "UserInitMprLogonScript" nocase
    condition:
        filesize < 1MB and $what and ($logon or any of ($where*) and ($command or $numbers))
}

rule setup_information {
    meta:
        threat = "Heuristic.Shortcut.Setup"
        outcome = "suspicious"
        evidence = "setup information (INF) that runs commands or fetches code when it is installed"
    strings:
        $what = /signature\s{0,9}=\s{0,9}"?\$(chicago|windows (nt|95))\$/ nocase
        $run = /\n\s{0,9}(runpresetupcommands|runpostsetupcommands|registerocxs|unregisterocxs)\s{0,9}=/ nocase
        $command = /(powershell|pwsh|cmd(\.exe)?\s{0,9}\/[ck]|mshta|scrobj|https?:|certutil|bitsadmin)/ nocase
    condition:
        filesize < 1MB and all of them
}

rule automation_downloader {
    meta:
        threat = "Heuristic.Script.Automation"
        outcome = "suspicious"
        evidence = "a program of AutoIt or AutoHotkey that runs what it fetches"
    strings:
        $fetch1 = /\binetget\s{0,9}\(/ nocase
        $fetch2 = /\burldownloadtofile\b/ nocase
        $fetch3 = /(^|\n)\s{0,40}download[\s(,]{1,9}["']?https?:/ nocase
        $run = /(^|\n)\s{0,40}(\$\w{1,40}\s{0,9}=\s{0,9})?(run|runwait|shellexecute|shellexecutewait)\s{0,9}[,(\s]/ nocase
    condition:
        filesize < 4MB and (object_name iendswith ".au3" or object_name iendswith ".ahk") and any of ($fetch*) and $run
}

rule automation_compiled {
    meta:
        threat = "Heuristic.Script.Automation"
        outcome = "suspicious"
        evidence = "a compiled script of AutoIt without the program that runs it, as only malware brings it"
    strings:
        $mark = /AU3!EA0[56]/
    condition:
        object_name iendswith ".a3x" and $mark
}

rule database_program {
    meta:
        threat = "Heuristic.Carrier.Database"
        outcome = "suspicious"
        evidence = "a database of Access that is a program: its code is compiled, or a macro in it starts commands when it is opened"
    strings:
        $mark = /\x00\x01\x00\x00Standard (ACE|Jet) DB\x00/
        $auto = "AutoExec" ascii wide
        $command = /\b(powershell|mshta|cmd(\.exe)?\s{0,3}\/[ck]|wscript\.shell|shell\.application|urldownloadtofile|certutil|bitsadmin)/ ascii wide nocase
    condition:
        $mark at 0 and (object_name iendswith ".accde" or object_name iendswith ".mde" or object_name iendswith ".accda" or
        object_name iendswith ".mda" or object_name iendswith ".ade" or $auto and $command)
}

rule stylesheet_script {
    meta:
        threat = "Heuristic.Script.Stylesheet"
        outcome = "suspicious"
        evidence = "a style sheet (XSL) with a script in it, which Windows runs"
    strings:
        $what = /<([a-z]{1,20}:)?(stylesheet|transform)[\s>]/ nocase
        $script = /<[a-z]{1,20}:script\s[^>]{0,200}implements-prefix/ nocase
        $object = /activexobject|createobject|process\.start|processstartinfo|webclient|getobject/ nocase
    condition:
        filesize < 1MB and all of them
}
