/* Pages (HTML, SVG): what builds a file at the reader's side, or reaches out of the browser. */

rule page_smuggling {
    meta:
        threat = "Heuristic.Html.Smuggling"
        outcome = "suspicious"
        evidence = "a page that builds a file out of its own text and offers it as a download"
    strings:
        $offer1 = /createObjectURL\s{0,9}["'\]]{0,3}\s{0,9}\(/ nocase
        $offer2 = /msSave(OrOpen)?Blob/ nocase
        $offer3 = /\.download\s*=|setAttribute\s*\(\s*["']download/ nocase
        $offer4 = /\sdownload\s*=\s*["'][^"']{1,200}\.(zip|iso|img|exe|js|vbs|hta|lnk|rar|7z|xll|one|docm|xlsm|msi|vhd)["']/ nocase
        $build1 = "atob(" nocase
        $build2 = "fromCharCode" nocase
        $build3 = "Uint8Array" nocase
        $build4 = /["']data:application\/(octet-stream|zip|x-[\w-]{1,40});base64,[A-Za-z0-9+\/]{40}/ nocase
        $build5 = "charCodeAt" nocase
        $build6 = "DecompressionStream" nocase
        $click = /(\.|\[\s{0,9}["'])click["'\]\s]{0,9}\(/ nocase
        $blob = /new\s{1,9}(window\s{0,9}[.\[]?\s{0,9})?["']?(Blob|File)\b/ nocase
    condition:
        filesize < 20MB and (any of ($offer1, $offer2) or ($offer3 or $offer4) and $click) and any of ($build*) and
        ($blob or $click or $offer2)
}

rule page_table_command {
    meta:
        threat = "Heuristic.Office.TableDde"
        outcome = "suspicious"
        evidence = "a table in a page with a formula that starts a command interpreter (DDE) when Excel opens it"
    strings:
        $dde = /[>"']\s{0,20}[=+\-@][^<\n|]{0,40}\b(cmd|powershell|mshta|rundll32|regsvr32|msexcel|wscript)\s*\|[^<\n]{1,200}![^<\n]/ nocase
    condition:
        filesize < 8MB and $dde
}

rule page_leads_elsewhere {
    meta:
        threat = "Heuristic.Html.Redirect"
        outcome = "suspicious"
        evidence = "an attached page that leads elsewhere at once, to an address that it hides"
    strings:
        $go = /\blocation(\.href)?\s{0,9}=[^=]|\blocation\.(replace|assign)\s{0,9}\(|http-equiv\s{0,9}=\s{0,9}["']?refresh/ nocase
        $hidden1 = /\batob\s{0,9}\(/
        $hidden2 = /\bfromCharCode\s{0,9}\(/
        $hidden3 = /\bunescape\s{0,9}\(\s{0,9}["']%/
        $hidden4 = /\.split\s{0,9}\(\s{0,9}["']{2}\s{0,9}\)\s{0,9}\.\s{0,9}reverse\s{0,9}\(/
    condition:
        filesize < 64KB and $go and any of ($hidden*) and (object_name iendswith ".html" or object_name iendswith ".htm" or
        object_name iendswith ".shtml" or object_name iendswith ".xhtml" or object_name iendswith ".xht")
}

rule page_decrypts_itself {
    meta:
        threat = "Heuristic.Html.Encrypted"
        outcome = "suspicious"
        evidence = "a page that decrypts what it shows with a key of its own, so that nobody on the way sees it"
    strings:
        $script = "<script" nocase
        $decrypt = /\b(crypto\s{0,9}\.\s{0,9}subtle\s{0,9}\.\s{0,9}decrypt|CryptoJS\.(AES|DES|TripleDES|RC4|Rabbit)\.decrypt|sjcl\.decrypt)\s{0,9}\(/
        $show = /document\.write|innerHTML|createObjectURL|\beval\s{0,9}\(|\bFunction\s{0,9}\(|insertAdjacentHTML|\.srcdoc|location/
        $password = /<input[^>]{0,400}type\s{0,9}=\s{0,9}["']?password/ nocase
    condition:
        filesize < 8MB and $script and $decrypt and $show and not $password
}

rule page_locked {
    meta:
        threat = "Heuristic.Html.Locked"
        outcome = "protected"
        evidence = "a page that decrypts what it shows with a password its reader knows: nobody on the way has seen it"
    strings:
        $script = "<script" nocase
        $decrypt = /\b(crypto\s{0,9}\.\s{0,9}subtle\s{0,9}\.\s{0,9}decrypt|CryptoJS\.(AES|DES|TripleDES|RC4|Rabbit)\.decrypt|sjcl\.decrypt)\s{0,9}\(/
        $password = /<input[^>]{0,400}type\s{0,9}=\s{0,9}["']?password/ nocase
    condition:
        filesize < 8MB and all of them
}

rule page_unreadable {
    meta:
        threat = "Heuristic.Html.Obfuscated"
        outcome = "suspicious"
        evidence = "a page whose script is written so that nobody can read it"
    strings:
        $script = "<script" nocase
        $signs = "(![]+[])"
        $faces = "\xef\xbe\x9f\xcf\x89\xef\xbe\x9f\xef\xbe\x89"
        $filler1 = { E3 85 A4 EF BE A0 }
        $filler2 = { EF BE A0 EF BE A0 }
        $filler3 = { E3 85 A4 E3 85 A4 }
        $runs = /\beval\s{0,9}\(|new\s{1,9}Proxy\s{0,9}\(|\bFunction\s{0,9}\(/
        $numbered = /\b_0x[0-9a-f]{4,6}\b/
        $turned = /while\s{0,9}\(\s{0,9}!!\[\]\s{0,9}\)/
    condition:
        filesize < 8MB and $script and
        (#signs >= 8 or $faces or #filler1 + #filler2 + #filler3 >= 20 and $runs or $turned and #numbered >= 20)
}

rule page_hidden_names {
    meta:
        threat = "Heuristic.Html.Obfuscated"
        outcome = "suspicious"
        evidence = "a page whose script hides the names of what it calls in escapes"
    strings:
        $name = /\[\s{0,9}["'][A-Za-z]{0,12}(\\x[0-9a-fA-F]{2}[A-Za-z]{0,12}){1,30}["']\s{0,9}\]/
        $what = /<script/ nocase
    condition:
        filesize < 8MB and $what and #name >= 4
}

rule page_escapes_browser {
    meta:
        threat = "Heuristic.Html.Command"
        outcome = "suspicious"
        evidence = "a page that starts programs of the system"
    strings:
        $object = /(activexobject|createobject)\s*\(\s*["'](wscript\.shell|shell\.application|adodb\.stream|scripting\.filesystemobject)/ nocase
        $protocol = /["'=]\s{0,9}(ms-msdt:|search(-ms)?:[^"'>]{0,200}(query|crumb|location)|ms-officecmd:|ms-appinstaller:\?source)/ nocase
        $classid = /classid\s*=\s*["']?clsid:(F935DC22-1CF0-11D0-ADB9-00C04FD58A0B|13709620-C279-11CE-A49E-444553540000|adb880a6-d8ff-11cf-9377-00aa003b7a11)/ nocase
        $redirect = /location(\.href)?\s*=\s*["'](search-ms|ms-msdt|file:\/\/\\?\\?\d)/ nocase
    condition:
        filesize < 20MB and any of them
}

rule page_from_share {
    meta:
        threat = "Heuristic.Html.Share"
        outcome = "suspicious"
        evidence = "a page that fetches something from another host's share, which gets the reader's password hash, or has Outlook open it unasked"
    strings:
        $file = /["'=(]\s{0,9}file:[\\\/]{2,5}([1-9][0-9]{0,2}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|[^\\\/\s"'<>]{1,100}@(ssl|80|443|8080))[\\\/@]/ nocase
        $share = /["'=(]\\\\([1-9][0-9]{0,2}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|[^\\\/\s"'<>]{1,100}@(ssl|80|443|8080))[\\\/@]/ nocase
        $own = /["'=(]\s{0,9}(file:[\\\/]{2,5}|\\\\)(10|127|192\.168|172\.(1[6-9]|2[0-9]|3[01]))\./ nocase
        $moniker = /href\s{0,9}=\s{0,9}["']?\s{0,9}file:[\\\/]{2,5}[^\\\/\s"'<>]{1,100}[.@][^\s"'<>]{1,400}\.[a-z]{1,5}![^\s"'<>]/ nocase
    condition:
        filesize < 8MB and ($moniker or #file + #share > #own)
}

rule picture_with_script {
    meta:
        threat = "Heuristic.Svg.Script"
        outcome = "suspicious"
        evidence = "a picture (SVG) with a page in it, or a script that hides what it does or leads elsewhere"
    strings:
        $picture = "<svg" nocase
        $script = /<script|\son(load|click|begin)\s*=|href\s*=\s*["']\s*javascript:/ nocase
        $what1 = /\b(atob|eval|unescape|fromCharCode|decodeURIComponent|createObjectURL)\b/ nocase
        $what2 = /(window|document|top|parent|self)?\.?location(\.href|\.assign|\.replace)?\s*(=|\()/ nocase
        $what3 = /<foreignobject/ nocase
        $what4 = /(window|document|self|top|parent|globalThis|this)\[/
        $what5 = /<script[^>]{0,400}[\s:](href|src)\s{0,9}=|xlink:href\s{0,9}=\s{0,9}["']\s{0,9}data:[^"']{0,60}script/ nocase
        $page = /<foreignobject[^\x00]{0,4000}<([a-z]{1,10}:)?((iframe|form|object|embed|input)[\s>]|meta\s[^>]{0,200}refresh)/ nocase
        $animated = /<(animate|set)\s[^>]{0,400}(values|to|from)\s{0,9}=\s{0,9}["'][^"']{0,200}javascript:/ nocase
    condition:
        filesize < 8MB and $picture in (0..4096) and ($script and any of ($what*) or $page or $animated) and
        (object_name iendswith ".svg" or object_name iendswith ".svgz" or object_name iendswith ".xml" or
        object_type == "image/svg+xml")
}
